"""Decoding in the background: order, bounds, and files that stop nothing."""

import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.data import prefetch as module
from mtl.data.decode import decode
from mtl.data.own_picture import Change
from mtl.data.prefetch import decode_ahead
from mtl.errors import UserError


@pytest.fixture
def files(tmp_path, write_images):
    return write_images(tmp_path / "cat", 7)


def test_the_images_are_those_of_decode_in_order(files):
    batches = list(decode_ahead(files, 6, True, at_once=3, ahead=2))
    assert [len(batch.images) for batch in batches] == [3, 3, 1]
    assert [file for batch in batches for file in batch.files] == files
    together = torch.cat([batch.images for batch in batches])
    assert torch.equal(together, torch.stack([decode(file, 6, True) for file in files]))
    assert not any(batch.unread for batch in batches)


def test_files_that_cannot_be_read_are_named_and_stop_nothing(files):
    files[0].write_bytes(b"")
    files[4].write_bytes(b"no picture")
    batches = list(decode_ahead(files, 8, False, at_once=2, ahead=3))
    assert [file for batch in batches for file in batch.files] == [files[i] for i in (1, 2, 3, 5, 6)]
    unread = [one for batch in batches for one in batch.unread]
    assert [one.file for one in unread] == [files[0], files[4]]
    assert all(one.why.startswith(f"{one.file}: is not a readable image") for one in unread)


def test_files_none_of_which_can_be_read_give_empty_batches(files):
    for file in files:
        file.write_bytes(b"")
    batches = list(decode_ahead(files, 8, False, at_once=4))
    assert [tuple(batch.images.shape) for batch in batches] == [(0, 3, 8, 8)] * 2
    assert [len(batch.unread) for batch in batches] == [4, 3]


def test_no_files_give_no_batch():
    assert list(decode_ahead([], 8, False)) == []


def _numbered(files, monkeypatch, slow=()):
    """`own_picture` that gives each file's number as an image, some later than others."""

    def fake(file, size, grayscale, ink, top):
        if int(file.name) in slow:
            time.sleep(0.01)
        if int(file.name) % 5 == 4:
            raise UserError(f"{file}: is odd")
        return torch.full((1, 1, 1), int(file.name), dtype=torch.uint8), Change()

    monkeypatch.setattr(module, "own_picture", fake)
    return [Path(str(i)) for i in range(files)]


@given(
    count=st.integers(0, 40),
    at_once=st.integers(1, 9),
    ahead=st.integers(1, 9),
    slow=st.sets(st.integers(0, 40), max_size=3),
)
def test_whatever_takes_longer_the_order_stays(count, at_once, ahead, slow):
    with pytest.MonkeyPatch.context() as patch:
        files = _numbered(count, patch, slow)
        batches = list(decode_ahead(files, 1, True, at_once, ahead))
    read = [int(file.name) for batch in batches for file in batch.files]
    assert read == [i for i in range(count) if i % 5 != 4]
    assert read == [i for batch in batches for i in batch.images.flatten().tolist()]
    assert [int(one.file.name) for batch in batches for one in batch.unread] == list(range(4, count, 5))
    sizes = [len(batch.files) + len(batch.unread) for batch in batches]
    assert all(size == at_once for size in sizes[:-1])
    assert sum(sizes) == count


def test_no_more_files_are_begun_than_may_be_ahead(monkeypatch):
    begun = []

    def fake(file, size, grayscale, ink, top):
        begun.append(file)
        return torch.zeros(1, 1, 1, dtype=torch.uint8), Change()

    monkeypatch.setattr(module, "own_picture", fake)
    batches = decode_ahead([Path(str(i)) for i in range(1000)], 1, True, at_once=4, ahead=6)
    next(batches)
    time.sleep(0.05)
    assert 4 <= len(begun) <= 10
    batches.close()
    time.sleep(0.02)
    assert len(begun) <= 10


def test_files_are_decoded_by_several_threads(monkeypatch):
    if module.THREADS < 2:
        pytest.skip("one core decodes one after the other")
    meeting = threading.Barrier(2, timeout=10)  # passed by two at once or by none

    def fake(file, size, grayscale, ink, top):
        meeting.wait()
        return torch.zeros(1, 1, 1, dtype=torch.uint8), Change()

    monkeypatch.setattr(module, "own_picture", fake)
    assert len(list(decode_ahead([Path("a"), Path("b")], 1, True))) == 1


def test_an_error_of_the_program_is_not_taken_for_a_bad_file(files, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(module, "own_picture", broken)
    with pytest.raises(ZeroDivisionError):
        list(decode_ahead(files, 8, False))
