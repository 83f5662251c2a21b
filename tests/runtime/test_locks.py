"""One process at a time: a lock names its holder, ends with it, and never hangs."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest

from mtl.runtime import locks
from mtl.runtime.locks import Locked, holder, locked, network_kind

ROOT = Path(__file__).parents[2]
_HOLD = """
import sys, time
from pathlib import Path
from mtl.runtime import locks
from mtl.runtime.locks import locked
with locked(Path(sys.argv[1]), "pretrain"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / ".lock"


@pytest.fixture
def other(lock):
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(lock)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_refused_with_its_number_host_and_command_and_kill_9_releases(lock, other):
    with pytest.raises(Locked) as caught, locked(lock, "meta-train"):
        pass
    for part in (f"process {other.pid}", socket.gethostname(), "pretrain"):
        assert part in str(caught.value)
    other.send_signal(signal.SIGKILL)
    other.wait()
    with locked(lock, "meta-train") as first:
        assert first
        assert f"process {os.getpid()}" in holder(lock)
        assert "meta-train" in holder(lock)
    assert holder(lock) == "another process"  # nobody: what it said is gone


def _refusal(lock):
    """Why another thread does not get the lock; None if it does."""
    refusals = []

    def call():
        try:
            with locked(lock, "thread"):
                refusals.append(None)
        except Locked as error:
            refusals.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(30)
    return refusals[0]


def test_a_thread_may_enter_again_and_another_thread_may_not(lock):
    with locked(lock, "run") as outer, locked(lock.parent / ".." / lock.parent.name / ".lock", "in") as inner:
        assert (outer, inner) == (True, False)
        assert "(run, " in holder(lock)
        assert _refusal(lock) is not None
    assert _refusal(lock) is None


def test_a_holder_that_ends_is_waited_for(lock):
    order, held = [], threading.Event()

    def hold():
        with locked(lock, "first"):
            held.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    with locked(lock, "second", wait=30):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("keep", [True, False])
def test_the_lock_file_is_removed_where_it_would_be_in_the_way(lock, keep):
    with locked(lock, "fit", keep=keep):
        assert lock.exists()
    assert lock.exists() == keep
    assert not lock.with_name(".lock.by").exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_flock_a_file_is_the_lock_and_one_of_a_dead_process_is_taken_over(lock, number, monkeypatch):
    def unavailable(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sys.modules[filelock.UnixFileLock.__module__].fcntl, "flock", unavailable)
    with locked(lock, "run"), locked(lock, "pretrain"):
        refusal = _refusal(lock)
    assert f"process {os.getpid()}" in refusal
    assert "remove" in refusal  # what to do if it died on another host
    assert ".lock.file" in refusal
    dies = (
        "import filelock, os, sys; _ = filelock.SoftFileLock(sys.argv[1]).acquire(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", dies, str(lock.with_name(".lock.file"))], check=False)
    assert lock.with_name(".lock.file").exists()
    with locked(lock, "run"):
        pass
    assert not lock.with_name(".lock.file").exists()


_ELSEWHERE = """
import os, sys, time
from pathlib import Path
import filelock._identity, filelock._soft._exclusive._marker as marker
from mtl.runtime import locks
marker.host_name = lambda: "another-host"
locks._flock_is_local = lambda path: True
locks.LEASE = float(sys.argv[2])
with locks.locked(Path(sys.argv[1]), "pretrain"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def elsewhere(lock, monkeypatch):
    """A process that holds the lock as one of another host does, where `flock` does not reach."""
    monkeypatch.setattr(locks, "_flock_is_local", lambda path: True)
    monkeypatch.setattr(locks, "LEASE", 0.6)
    arguments = [sys.executable, "-c", _ELSEWHERE, str(lock), "0.6"]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_file_of_another_host_holds_while_it_is_renewed_and_is_taken_over_after(
    lock, elsewhere, capsys
):
    time.sleep(1.0)
    assert f"process {elsewhere.pid}" in _refusal(lock)
    elsewhere.kill()
    elsewhere.wait()
    assert _refusal(lock) is not None  # this host cannot know yet
    time.sleep(0.8)
    with locked(lock, "run"):
        assert f"taken over from process {elsewhere.pid} on" in capsys.readouterr().err
    assert [path.name for path in lock.parent.iterdir()] == []


def test_a_process_whose_lock_file_was_taken_over_ends_before_it_writes(lock, elsewhere):
    lock.with_name(".lock.file").unlink()
    with locked(lock, "run"):
        assert elsewhere.wait(10) == 1
    assert "another process took over" in elsewhere.stderr.read()


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), locked(tmp_path / "file" / ".lock", "run"):
        pass


_TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/a\040b rw shared:2 - nfs4 host:/export rw,vers=4.2
31 30 0:41 / /mnt/a\040b/local rw - xfs /dev/vdb rw
32 22 0:42 / /mnt/over rw - ext4 /dev/vdc rw
33 32 0:43 / /mnt/over rw - cifs //host/share rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/x", None),
        ("/mnt/a b", "nfs4"),
        ("/mnt/a b/run/hard_tasks.sqlite", "nfs4"),
        ("/mnt/a bc/x", None),
        ("/mnt/a b/local/x", None),
        ("/mnt/over/x", "cifs"),
    ],
)
def test_the_mount_that_is_nearest_counts(tmp_path, path, kind):
    table = tmp_path / "mountinfo"
    table.write_text(_TABLE)
    assert network_kind(path, table) == kind


@pytest.mark.parametrize(
    ("options", "local"),
    [("rw,localflock", True), ("rw,local_lock=none", False), ("rw,local_lock=all", True)],
)
def test_a_mount_can_keep_flock_from_other_hosts(tmp_path, options, local):
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 254:0 / /mnt/a rw shared:1 - lustre host:/x {options}\n")
    assert locks._flock_is_local(Path("/mnt/a/run/.lock"), table) == local


def test_without_a_table_nothing_is_known(tmp_path):
    assert network_kind(tmp_path, tmp_path / "mountinfo") is None
