import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.config import Data
from mtl.data import Splits, load_splits
from mtl.errors import UserError


def pictures(count: int, mode: str) -> np.ndarray:
    random = np.random.default_rng(len(mode))
    return random.integers(0, 256, (count, 84, 84, 3), dtype=np.uint8)


class MiniImagenet:
    """As learn2learn's: float pictures, float labels in the order of `class_idx`."""

    def __init__(self, root: str, mode: str, download: bool) -> None:
        assert Path(root).is_dir()
        self.x = torch.from_numpy(pictures(4, mode)).permute(0, 3, 1, 2).float()
        self.y = np.array([0.0, 0.0, 1.0, 1.0])
        self.class_idx = {f"n9 {mode}": 0, f"n1 {mode}": 1}


class TieredImagenet:
    """As learn2learn's: PNG files in memory, integer labels without names."""

    def __init__(self, root: str, mode: str, download: bool) -> None:
        self.images, self.labels = [], np.array([7, 7, 2])
        for pixels in pictures(3, mode):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            self.images.append(np.frombuffer(stream.getvalue(), dtype=np.uint8))


class Unreachable:
    def __init__(self, root: str, mode: str, download: bool) -> None:
        raise ConnectionError("no route to host")


def load(monkeypatch: pytest.MonkeyPatch, root: Path, name: str, source: type, **more: object) -> Splits:
    datasets = SimpleNamespace(MiniImagenet=source, TieredImagenet=source)
    stub = SimpleNamespace(vision=SimpleNamespace(datasets=datasets))
    monkeypatch.setattr("mtl.data.sources.mini_imagenet.import_learn2learn", lambda who: stub)
    return load_splits(Data(name=name, root=str(root), **more), 0)  # type: ignore[arg-type]


def test_mini_imagenet_keeps_the_names_of_its_classes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    splits = load(monkeypatch, tmp_path / "new" / "root", "mini_imagenet", MiniImagenet)
    assert splits.val.class_names == ("n1 validation", "n9 validation")
    assert splits.val.labels.tolist() == [1, 1, 0, 0]
    expected = torch.from_numpy(pictures(4, "validation")).permute(0, 3, 1, 2)
    assert torch.equal(splits.val.images, expected)


def test_tiered_imagenet_is_unpacked_and_its_splits_share_no_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    splits = load(monkeypatch, tmp_path, "tiered_imagenet", TieredImagenet)
    assert splits.train.class_names == ("a0002", "a0007")
    assert splits.test.class_names == ("c0002", "c0007")
    assert splits.train.labels.tolist() == [1, 1, 0]
    assert torch.equal(splits.test.images, torch.from_numpy(pictures(3, "test")).permute(0, 3, 1, 2))


def test_size_and_grey_are_those_of_the_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    splits = load(monkeypatch, tmp_path, "mini_imagenet", MiniImagenet, image_size=32, grayscale=True)
    assert splits.train.images.shape == (4, 1, 32, 32)


def test_once_there_the_set_needs_no_learn2learn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = load(monkeypatch, tmp_path, "mini_imagenet", MiniImagenet)
    again = load(monkeypatch, tmp_path, "mini_imagenet", Unreachable)
    assert torch.equal(again.train.images, first.train.images)


def test_a_failed_download_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = r"mini_imagenet could not be downloaded \(no route to host\); put its images into"
    with pytest.raises(UserError, match=words):
        load(monkeypatch, tmp_path, "mini_imagenet", Unreachable)
    assert not (tmp_path / ".cache").exists()


def test_without_learn2learn_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    with pytest.raises(UserError, match=r"mini_imagenet is not below .* needs learn2learn, which is not"):
        load_splits(Data(name="mini_imagenet", root=str(tmp_path)), 0)
