"""Files of tensors: a changed byte is never read as another number."""

import os
import pickle
import random
import zipfile

import pytest
import torch

from mtl.runtime import tensor_files
from mtl.runtime.tensor_files import Damaged


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "a.pt"
    tensor_files.write(file, _content())
    return file


def _content():
    return {"format": 1, "weights": torch.linspace(-1, 1, 300), "names": ["a", "b"], "step": 7}


def _same(found):
    wanted = _content()
    return found.keys() == wanted.keys() and all(
        torch.equal(found[k], v) if isinstance(v, torch.Tensor) else found[k] == v for k, v in wanted.items()
    )


@pytest.mark.parametrize("mmap", [False, True])
def test_what_was_written_is_read(path, mmap):
    assert _same(tensor_files.read(path, mmap))


@pytest.mark.parametrize("mmap", [False, True])
def test_a_flipped_bit_is_refused_or_changes_nothing(path, mmap):
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            assert _same(tensor_files.read(path, mmap))  # of bytes that only fill gaps
        except Damaged:
            refused += 1
    assert refused > 75


def test_the_record_that_is_damaged_is_named(path):
    with zipfile.ZipFile(path) as archive:
        record = next(one for one in archive.infolist() if one.filename.endswith("data/0"))
    content = bytearray(path.read_bytes())
    content[content.index(_content()["weights"].numpy().tobytes()) + 3] ^= 0x40  # an exponent
    path.write_bytes(content)
    with pytest.raises(Damaged, match=record.filename):
        tensor_files.read(path)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_a_file_cut_short_is_refused(path, keep):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(Damaged):
        tensor_files.read(path)


class _Command:
    def __reduce__(self):
        return os.mkdir, ("was-executed",)


def test_what_would_run_a_command_is_named_and_no_way_round_is_advised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"evil": _Command()}, "zip.pt")
    torch.save({"evil": _Command()}, "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(_Command()))
    for name in ("zip.pt", "old.pt", "pickle.pt"):
        with pytest.raises(Damaged) as caught:
            tensor_files.read(tmp_path / name)
        assert "weights_only" not in str(caught.value)
        assert "\x1b" not in str(caught.value)
        if name == "zip.pt":
            assert "mkdir" in str(caught.value)
    assert not (tmp_path / "was-executed").exists()


def test_packed_records_are_refused_before_they_are_unpacked(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(Damaged, match="store"):
        tensor_files.read(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        tensor_files.read(tmp_path / "a.pt")
