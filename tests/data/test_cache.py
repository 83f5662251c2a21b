import os
from pathlib import Path

import pytest
import torch

from mtl.data import ImageSet, Splits
from mtl.data.cache import cached, fingerprint


def splits() -> Splits:
    def part(*names: str) -> ImageSet:
        images = torch.arange(len(names) * 32, dtype=torch.uint8).view(-1, 1, 4, 4)
        labels = torch.arange(len(names)).repeat_interleave(2)
        files = tuple(f"{name}/é {i}.png" for name in names for i in range(2))
        return ImageSet(images, labels, names, tuple(f"group of {name}" for name in names), files)

    return Splits(part("a", "b"), part("c"), part("d", "e"), "set")


def never() -> Splits:
    raise AssertionError("the set was built again")


def assert_same(one: Splits, other: Splits) -> None:
    for a, b in ((one.train, other.train), (one.val, other.val), (one.test, other.test)):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert (a.class_names, a.groups, a.files) == (b.class_names, b.groups, b.files)


def test_built_once_then_opened_with_equal_content(tmp_path: Path) -> None:
    assert_same(cached(tmp_path, "set", (28,), splits), splits())
    assert_same(cached(tmp_path, "set", (28,), never), splits())


def test_another_key_is_another_set(tmp_path: Path) -> None:
    cached(tmp_path, "set", (28,), splits)
    with pytest.raises(AssertionError, match="built again"):
        cached(tmp_path, "set", (32,), never)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_damaged_file_is_made_anew(tmp_path: Path, keep: int) -> None:
    cached(tmp_path, "set", (28,), splits)
    (file,) = (tmp_path / ".cache").iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    assert_same(cached(tmp_path, "set", (28,), splits), splits())
    assert_same(cached(tmp_path, "set", (28,), never), splits())


def test_a_file_with_other_content_is_made_anew(tmp_path: Path) -> None:
    cached(tmp_path, "set", (28,), splits)
    (file,) = (tmp_path / ".cache").iterdir()
    torch.save({"train": {}}, file)
    assert_same(cached(tmp_path, "set", (28,), splits), splits())


def test_a_build_or_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AssertionError, match="built again"):
        cached(tmp_path, "set", (28,), never)
    assert list(tmp_path.iterdir()) == []

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert_same(cached(tmp_path, "set", (28,), splits), splits())
    assert list((tmp_path / ".cache").iterdir()) == []
    assert "no space left" in caplog.text


def test_the_file_is_whole_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    rename = os.replace

    def look(source: Path, target: Path) -> None:
        seen.append((Path(target).exists(), sorted(torch.load(source, weights_only=True))))
        rename(source, target)

    monkeypatch.setattr(os, "replace", look)
    cached(tmp_path, "set", (28,), splits)
    assert seen == [(False, ["test", "train", "val"])]


@pytest.mark.parametrize("change", ["content", "time", "name", "more"])
def test_a_changed_folder_has_another_fingerprint(tmp_path: Path, change: str) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"one")
    os.utime(file, (1, 1))
    before = fingerprint(tmp_path.iterdir())
    assert fingerprint(tmp_path.iterdir()) == before
    if change == "content":
        file.write_bytes(b"longer")
        os.utime(file, (1, 1))
    elif change == "time":
        os.utime(file, (2, 2))
    elif change == "name":
        file.rename(tmp_path / "b.png")
    else:
        (tmp_path / "b.png").write_bytes(b"two")
    assert fingerprint(tmp_path.iterdir()) != before
