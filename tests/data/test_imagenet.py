from collections.abc import Callable
from pathlib import Path

import pytest

from mtl.config import Data
from mtl.data import load_splits
from mtl.errors import UserError

WriteImages = Callable[..., list[Path]]
LISTS = {"train": ["n03", "n01"], "val": ["n04"], "test": ["n02"]}


def data(root: Path, name: str = "mini_imagenet") -> Data:
    return Data(name=name, root=str(root), download=False)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def short_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtl.data.sources.mini_imagenet.class_lists", lambda name: LISTS)


def test_a_flat_folder_is_split_by_the_published_list(tmp_path: Path, write_images: WriteImages) -> None:
    for name in ("n01", "n02", "n03", "n04", "n05 of no split"):
        write_images(tmp_path / "mini_imagenet" / name)
    splits = load_splits(data(tmp_path), 0)
    assert splits.train.class_names == ("n01", "n03")
    assert (splits.val.class_names, splits.test.class_names) == (("n04",), ("n02",))
    assert splits.train.images.shape == (4, 3, 84, 84)


def test_a_class_of_the_list_that_is_missing_is_named(tmp_path: Path, write_images: WriteImages) -> None:
    for name in ("n01", "n03", "n04"):
        write_images(tmp_path / "mini_imagenet" / name)
    with pytest.raises(UserError, match=r"class n02 of the split is missing; put its images into"):
        load_splits(data(tmp_path), 0)


@pytest.mark.parametrize("name", ["mini_imagenet", "tiered_imagenet"])
def test_given_folders_go_before_the_list(tmp_path: Path, name: str, write_images: WriteImages) -> None:
    for part, one in (("train", "x"), ("val", "y"), ("test", "z")):
        write_images(tmp_path / name / part / one)
    assert load_splits(data(tmp_path, name), 0).test.class_names == ("z",)


def test_tiered_imagenet_is_never_split_by_chance(tmp_path: Path, write_images: WriteImages) -> None:
    for name in "abcdef":
        write_images(tmp_path / "tiered_imagenet" / name)
    with pytest.raises(UserError, match="tiered_imagenet: has no train, val and test; put its images"):
        load_splits(data(tmp_path, "tiered_imagenet"), 0)


def test_a_missing_folder_says_where_to_put_the_images(tmp_path: Path) -> None:
    words = r"mini_imagenet is missing, and data\.download is off; put its images into .*/\{train,val,test\}/"
    with pytest.raises(UserError, match=words):
        load_splits(data(tmp_path), 0)
