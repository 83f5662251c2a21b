import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.config import Data
from mtl.data import Splits, load_splits
from mtl.data.sources.image_folder import splits_of
from mtl.errors import UserError

WriteImages = Callable[..., list[Path]]


def data(root: Path, **more: object) -> Data:
    return Data(name="image_folder", root=str(root), **more)  # type: ignore[arg-type]


def names(splits: Splits) -> tuple[tuple[str, ...], ...]:
    return splits.train.class_names, splits.val.class_names, splits.test.class_names


def given_tree(root: Path, write_images: WriteImages) -> None:
    for part, classes in {"train": "ab", "val": "c", "test": "de"}.items():
        for name in classes:
            write_images(root / part / name, 3)


def flat_tree(root: Path, write_images: WriteImages, count: int = 10) -> None:
    for i in range(count):
        write_images(root / f"class {i}", 2)


def test_given_splits_are_taken_as_they_are(tmp_path: Path, write_images: WriteImages) -> None:
    given_tree(tmp_path, write_images)
    splits = load_splits(data(tmp_path), 0)
    assert names(splits) == (("a", "b"), ("c",), ("d", "e"))
    assert splits.train.images.shape == (6, 3, 84, 84)
    assert splits.test.files[0] == os.path.join("test", "d", "00.png")


def test_size_and_grey_are_those_of_the_config(tmp_path: Path, write_images: WriteImages) -> None:
    given_tree(tmp_path, write_images)
    assert load_splits(data(tmp_path, image_size=16, grayscale=True), 0).val.images.shape == (3, 1, 16, 16)
    assert load_splits(data(tmp_path, image_size=20), 0).val.images.shape == (3, 3, 20, 20)


def test_drawn_splits_follow_from_the_seed(tmp_path: Path, write_images: WriteImages) -> None:
    flat_tree(tmp_path, write_images)
    first = names(load_splits(data(tmp_path, image_size=16), 3))
    assert [len(part) for part in first] == [6, 2, 2]
    assert names(load_splits(data(tmp_path, image_size=16), 3)) == first
    others = {names(load_splits(data(tmp_path, image_size=16), seed)) for seed in range(4)}
    assert len(others) > 1


def test_drawn_splits_do_not_depend_on_the_order_of_the_file_system(
    tmp_path: Path, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat_tree(tmp_path, write_images)
    before = splits_of(tmp_path, data(tmp_path), 0)
    listing = os.scandir

    @contextmanager
    def backwards(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with listing(folder) as entries:
            yield iter(sorted(entries, key=lambda e: e.name, reverse=True))

    monkeypatch.setattr("mtl.data.decode.os.scandir", backwards)
    assert splits_of(tmp_path, data(tmp_path), 0) == before


@given(
    count=st.integers(3, 40),
    fractions=st.tuples(*[st.floats(1e-3, 100)] * 3),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=25, deadline=None)
def test_drawn_splits_share_no_class_lose_none_and_are_never_empty(
    count: int, fractions: tuple[float, float, float], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            Path(folder, f"{i}").mkdir()
            Path(folder, f"{i}", "a.png").touch()
        parts = splits_of(Path(folder), data(Path(folder), split_fractions=fractions), seed)
    assert all(parts)
    assert sorted(name for part in parts for name in part) == sorted(str(i) for i in range(count))
    shares = [f / sum(fractions) * count for f in fractions]
    assert all(abs(len(part) - share) <= 2 for part, share in zip(parts, shares, strict=True))


def test_the_second_time_nothing_is_decoded_and_a_changed_folder_is_decoded_anew(
    tmp_path: Path, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_tree(tmp_path, write_images)
    first = load_splits(data(tmp_path), 0)
    with monkeypatch.context() as patch:
        patch.setattr("mtl.data.sources.image_folder.decode_classes", None)
        assert torch.equal(load_splits(data(tmp_path), 0).train.images, first.train.images)
    write_images(tmp_path / "train" / "f", 1)
    assert load_splits(data(tmp_path), 0).train.class_names == ("a", "b", "f")


def test_an_image_that_is_overwritten_is_decoded_anew(tmp_path: Path, write_images: WriteImages) -> None:
    given_tree(tmp_path, write_images)
    first = load_splits(data(tmp_path), 0).train
    file = tmp_path / first.files[4]
    file.write_bytes((tmp_path / first.files[0]).read_bytes())
    os.utime(file, (1, 1))
    images = load_splits(data(tmp_path), 0).train.images
    assert torch.equal(images[4], first.images[0])
    assert not torch.equal(images[4], first.images[4])


def test_a_corrupt_image_is_named_and_nothing_is_kept(tmp_path: Path, write_images: WriteImages) -> None:
    given_tree(tmp_path, write_images)
    (tmp_path / "val" / "c" / "01.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"val/c/01\.png: is not a readable image"):
        load_splits(data(tmp_path), 0)
    assert not (tmp_path / ".cache").exists()


def test_an_empty_class_is_named(tmp_path: Path, write_images: WriteImages) -> None:
    given_tree(tmp_path, write_images)
    (tmp_path / "test" / "empty").mkdir()
    with pytest.raises(UserError, match=r"test/empty: the class holds no images"):
        load_splits(data(tmp_path), 0)


def test_a_class_in_two_splits_is_named(tmp_path: Path, write_images: WriteImages) -> None:
    given_tree(tmp_path, write_images)
    write_images(tmp_path / "test" / "b", 1)
    with pytest.raises(UserError, match="class b is in train and in test; splits are by class"):
        load_splits(data(tmp_path), 0)


def test_what_the_folder_lacks_is_told(tmp_path: Path, write_images: WriteImages) -> None:
    with pytest.raises(UserError, match="is no folder; image_folder wants <root>/<class>"):
        load_splits(data(tmp_path / "gone"), 0)
    flat_tree(tmp_path / "two", write_images, 2)
    with pytest.raises(UserError, match="holds 2 class folders; at least 3 are needed"):
        load_splits(data(tmp_path / "two"), 0)
    write_images(tmp_path / "part" / "train" / "a")
    with pytest.raises(UserError, match="has train but not val, test; give all three"):
        load_splits(data(tmp_path / "part"), 0)
    given_tree(tmp_path / "empty", write_images)
    for file in (tmp_path / "empty" / "val" / "c").iterdir():
        file.unlink()
    (tmp_path / "empty" / "val" / "c").rmdir()
    with pytest.raises(UserError, match="empty/val: holds no class folders"):
        load_splits(data(tmp_path / "empty"), 0)
