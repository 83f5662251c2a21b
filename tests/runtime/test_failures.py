"""Failures of the system are told in a sentence; errors of the program are not taken for them."""

import errno
import os
import sqlite3

import pytest
import torch

from mtl.runtime import checkpoints
from mtl.runtime.failures import about, failure

ALLOCATOR = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EACCES, "permission"),
        (errno.EROFS, "folder that can be written"),
        (errno.ENAMETOOLONG, "shorter name"),
    ],
)
def test_an_error_of_the_system_names_file_cause_and_way_out(number, way_out):
    told = failure(OSError(number, os.strerror(number), "runs/a/meta.pt"), resumable=True)
    assert told.startswith(f"runs/a/meta.pt: {os.strerror(number)}; ")
    assert way_out in told
    assert told.endswith("--resume")
    assert "\n" not in told
    assert "--resume" not in failure(OSError(number, os.strerror(number), "a"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(ALLOCATOR),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("std::bad_alloc"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
)
def test_memory_that_ran_out_is_told_with_what_needs_less(error):
    told = failure(error, resumable=True)
    assert told.startswith("memory ran out; ")
    assert "pretrain.batch_size" in told
    assert failure(error) == "memory ran out; close other programs"


def test_a_full_ledger_is_told_with_its_file(tmp_path):
    connection = sqlite3.connect(tmp_path / "a.sqlite")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as caught, about(tmp_path / "a.sqlite"):
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    connection.close()
    assert failure(caught.value).startswith(f"{tmp_path / 'a.sqlite'}: the disk is full; free some space")


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError(), KeyError("a"), RuntimeError("shapes differ"), ValueError("x"), OSError("odd")],
)
def test_an_error_of_the_program_is_none_of_the_system(error):
    assert failure(error) is None


def test_a_mistake_in_sql_is_an_error_of_the_program():
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(":memory:").execute("SELECT nothing FROM nowhere")
    assert failure(caught.value) is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_checkpoint_that_finds_no_room_names_its_file_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("mtl.runtime.outputs.secrets.token_hex", lambda count: "0" * 2 * count)
    os.symlink("/dev/full", tmp_path / ".a.pt.00000000.tmp")  # where it is written first
    with pytest.raises((OSError, RuntimeError)) as caught:
        checkpoints.write(tmp_path / "a.pt", {"format": 1, "x": torch.zeros(10_000)})
    assert failure(caught.value).startswith(f"{tmp_path / 'a.pt'}: No space left on device; free some space")
    assert not list(tmp_path.iterdir())
