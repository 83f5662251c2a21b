import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.config import Data, read_config
from mtl.data import Splits, load_splits
from mtl.data.decode import decode
from mtl.data.folder_classes import choose
from mtl.data.formats import opened
from mtl.data.image_set import fingerprint
from mtl.data.sources.image_folder import survey
from mtl.errors import UserError

WriteImages = Callable[..., list[Path]]
Photograph = Callable[..., Image.Image]


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


def refusal(config: Data) -> str:
    with pytest.raises(UserError) as caught:
        load_splits(config, 0)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{config.root}{os.sep}", "")


def test_given_splits_are_taken_as_they_are(tmp_path: Path, write_images: WriteImages) -> None:
    given_tree(tmp_path, write_images)
    splits = load_splits(data(tmp_path, cache=False), 0)
    assert names(splits) == (("a", "b"), ("c",), ("d", "e"))
    assert splits.train.images.shape == (6, 3, 84, 84)
    assert splits.test.files[0] == os.path.join("test", "d", "00.png")
    assert not (tmp_path / ".cache").exists()
    small = load_splits(data(tmp_path, image_size=16, grayscale=True), 0)
    assert small.val.images.shape == (3, 1, 16, 16)


def test_only_what_has_changed_is_decoded_anew(
    tmp_path: Path, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_tree(tmp_path, write_images)
    first = load_splits(data(tmp_path), 0).train
    with monkeypatch.context() as patch:
        patch.setattr("mtl.data.decoded_set.decode_files", None)
        assert torch.equal(load_splits(data(tmp_path), 0).train.images, first.images)
    file = tmp_path / first.files[4]
    write_images(tmp_path / "elsewhere", 1)[0].rename(file)
    os.utime(file, (1, 1))
    images = load_splits(data(tmp_path), 0).train.images
    assert torch.equal(images[4], decode(file, 84, False))
    assert not torch.equal(images[4], first.images[4])
    write_images(tmp_path / "train" / "f", 1)
    assert load_splits(data(tmp_path), 0).train.class_names == ("a", "b", "f")


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
    before = choose(tmp_path, data(tmp_path), 0)
    listing = os.scandir

    @contextmanager
    def backwards(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with listing(folder) as entries:
            yield iter(sorted(entries, key=lambda e: e.name, reverse=True))

    monkeypatch.setattr("mtl.data.decode.os.scandir", backwards)
    assert choose(tmp_path, data(tmp_path), 0) == before


def test_a_class_may_be_empty_and_a_split_may_not(tmp_path: Path, write_images: WriteImages) -> None:
    assert "is not a folder; image_folder wants <root>/<class>" in refusal(data(tmp_path / "gone"))
    given_tree(tmp_path, write_images)
    (tmp_path / "test" / "empty").mkdir()
    assert load_splits(data(tmp_path), 0).test.class_names == ("d", "e")
    assert survey(data(tmp_path), 0).report.scarce == {"empty": 0}
    shutil.rmtree(tmp_path / "val" / "c")
    assert "val: holds no class folders" in refusal(data(tmp_path))


def photos(root: Path, photograph: Photograph, count: int = 4) -> None:
    """Five classes: a and b of train, c of val, d and e of test."""
    for part, classes in {"train": "ab", "val": "c", "test": "de"}.items():
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                photograph(100 * ord(name) + i).save(root / part / name / f"{i}.png")


WAY_OUT = (
    "; the command data shows them. Remove those that are wrong, or set data.duplicates to exact (looks only "
    "for equal pixels), drop (leaves out all of them) or keep (looks for none)"
)


def test_a_picture_in_two_classes_is_refused_by_name(tmp_path: Path, photograph: Photograph) -> None:
    photos(tmp_path, photograph)
    assert len(load_splits(data(tmp_path), 0).train) == 8
    (tmp_path / "train" / "a" / "0.png").rename(tmp_path / "train" / "a" / "x.png")
    photograph(100 * ord("a")).save(tmp_path / "train" / "b" / "copy.bmp")
    assert refusal(data(tmp_path)) == (
        "train/a/x.png and train/b/copy.bmp are the same picture in two classes" + WAY_OUT
    )
    photograph(100 * ord("b")).save(tmp_path / "test" / "d" / "again.jpg", quality=80)
    assert refusal(data(tmp_path)) == (
        "train/b/0.png and test/d/again.jpg are nearly the same picture in two splits (and 1 more pair)"
        + WAY_OUT
    )
    photograph(100 * ord("c")).save(tmp_path / "test" / "d" / "third.jpg", quality=80)
    assert " (and 2 more pairs); the command data" in refusal(data(tmp_path))
    assert len(load_splits(data(tmp_path, duplicates="keep"), 0).test) == 10
    assert survey(data(tmp_path, duplicates="keep"), 0).report.duplicates is None


def test_copies_within_a_class_are_counted_and_kept(tmp_path: Path, photograph: Photograph) -> None:
    photos(tmp_path, photograph)
    photograph(100 * ord("a")).save(tmp_path / "train" / "a" / "copy.png")
    assert len(load_splits(data(tmp_path), 0).train) == 9
    found = survey(data(tmp_path), 0).report.duplicates
    assert found is not None
    assert found.counts == {"splits": (0, 0), "classes": (0, 0), "class": (1, 0)}
    assert (found.crossing, found.left_out) == (0, 0)


def test_dropping_leaves_no_picture_in_two_classes_and_none_twice(
    tmp_path: Path, photograph: Photograph
) -> None:
    photos(tmp_path, photograph)
    photograph(100 * ord("a")).save(tmp_path / "train" / "b" / "of a.png")
    photograph(100 * ord("c")).save(tmp_path / "test" / "d" / "of c.jpg", quality=80)
    photograph(100 * ord("e")).save(tmp_path / "test" / "e" / "own.png")
    config = data(tmp_path, duplicates="drop", image_size=32)
    splits = load_splits(config, 0)
    files = (*splits.train.files, *splits.val.files, *splits.test.files)
    assert {"a/0", "b/of a", "c/0", "d/of c", "e/own"}.isdisjoint(f.split("/", 1)[1][:-4] for f in files)
    assert len(files) == 5 * 4 - 2
    assert splits.val.labels.tolist() == [0, 0, 0]
    for image, file in zip(splits.test.images, splits.test.files, strict=True):
        assert torch.equal(image, decode(tmp_path / file, 32, False))
    found = survey(config, 0).report.duplicates
    assert found is not None
    assert found.left_out == 5
    assert [(p.one, p.other) for p in found.pairs] == [
        ("val/c/0.png", "test/d/of c.jpg"),
        ("train/a/0.png", "train/b/of a.png"),
        ("test/e/0.png", "test/e/own.png"),
    ]
    for pair, pictures in zip(found.pairs, found.pictures, strict=True):
        assert torch.equal(pictures[1], decode(tmp_path / pair.other, 32, False))


def test_a_class_of_which_too_little_is_left_is_left_out(tmp_path: Path, photograph: Photograph) -> None:
    photos(tmp_path, photograph, 3)
    for i in range(2):
        photograph(100 * ord("a") + i).save(tmp_path / "train" / "b" / f"of a {i}.png")
    (tmp_path / "test" / "e" / "1.png").write_bytes(b"")
    config = data(tmp_path, duplicates="drop", unreadable="skip", min_images=3)
    found = survey(config, 0)
    assert names(found.splits) == (("b",), ("c",), ("d",))
    assert found.report.scarce == {"a": 1, "e": 2}
    assert found.splits.train.labels.tolist() == [0, 0, 0]
    (tmp_path / "val" / "c" / "1.png").write_bytes(b"")
    assert refusal(config).endswith(
        "val is left without a class; none has data.min_images = 3 images that can be read and "
        "are not copies of others"
    )


def test_what_cannot_be_read_is_skipped_where_that_is_set(
    tmp_path: Path, write_images: WriteImages, caplog: pytest.LogCaptureFixture
) -> None:
    given_tree(tmp_path, write_images)
    (tmp_path / "val" / "c" / "01.png").write_bytes(b"")
    (tmp_path / "test" / "d" / "02.png").write_text("no")
    assert "val/c/01.png: is not a readable image" in refusal(data(tmp_path))
    config = data(tmp_path, unreadable="skip")
    for _ in range(2):  # decoded, then out of the cache
        found = survey(config, 0)
        assert found.report.unreadable == {
            "val/c/01.png": "the file is empty",
            "test/d/02.png": "it holds text, whatever its name says",
        }
        assert load_splits(config, 0).val.files == ("val/c/00.png", "val/c/02.png")
    names = "the command data names them"
    assert caplog.messages == [f"{tmp_path}: left out images: 2 unreadable; {names}"] * 2
    write_images(tmp_path / "val" / "c" / "more", 1)[0].rename(tmp_path / "val" / "c" / "02.png")
    (tmp_path / "val" / "c" / "03.png").write_bytes((tmp_path / "val" / "c" / "00.png").read_bytes())
    load_splits(replace(config, duplicates="drop"), 0)
    assert caplog.messages[2:] == [f"{tmp_path}: left out images: 2 unreadable and 1 there twice; {names}"]
    assert refusal(data(tmp_path)) == (
        "val/c/01.png: is not a readable image (the file is empty); and 1 more cannot be read; the command "
        "data lists what cannot be read, and data.unreadable = skip leaves it out"
    )


def test_a_file_that_has_become_readable_is_read(tmp_path: Path, write_images: WriteImages) -> None:
    given_tree(tmp_path, write_images)
    file = tmp_path / "val" / "c" / "01.png"
    content, state = file.read_bytes(), file.stat()
    file.write_bytes(bytes(len(content)))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert len(load_splits(data(tmp_path, unreadable="skip"), 0).val) == 2
    file.write_bytes(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # from outside it is as it was
    assert len(load_splits(data(tmp_path, unreadable="skip"), 0).val) == 3


def test_a_moved_set_names_its_files_where_they_are_now(tmp_path: Path, photograph: Photograph) -> None:
    photos(tmp_path / "old", photograph)
    (tmp_path / "old" / "val" / "c" / "0.png").write_bytes(b"")
    assert survey(data(tmp_path / "old"), 0).report.unreadable
    (tmp_path / "old").rename(tmp_path / "new")
    assert refusal(data(tmp_path / "new")).startswith("val/c/0.png: is not a readable image")


def test_the_report_says_what_was_left_out_and_is_the_same_out_of_the_cache(
    tmp_path: Path, photograph: Photograph
) -> None:
    photos(tmp_path, photograph, 6)
    flat = tmp_path / "flat"
    flat.mkdir()
    for folder in tmp_path.glob("t*/?"):
        folder.rename(flat / folder.name)
    (tmp_path / "val" / "c").rename(flat / "c")
    for i in range(3):
        (flat / "b" / f"{i}.png").unlink()
    keys = {"min_images": 4, "max_images": 4}
    config = read_config(
        {"data": {"name": "image_folder", "root": str(flat), "split_seed": 5, **keys}}, "test"
    ).data
    for _ in range(2):
        report = survey(config, 5).report
        assert report.scarce == {"b": 3}
        assert report.capped == dict.fromkeys("acde", 6)
        assert report.unnamed == ()
        assert report.unreadable == {}
    splits = load_splits(config, 5)
    assert sorted(name for part in names(splits) for name in part) == list("acde")
    assert all(part.class_counts().eq(4).all() for part in (splits.train, splits.val, splits.test))


@pytest.mark.parametrize(
    "change",
    [
        {"duplicates": "drop"},
        {"duplicates": "keep"},
        {"unreadable": "skip"},
        {"max_images": 2},
        {"min_images": 2},
        {"classes": {"val": ["e"]}},
        {"split_seed": 3},
    ],
)
def test_another_choice_of_the_same_pictures_decodes_none_of_them_again(
    tmp_path: Path, photograph: Photograph, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    for name in "abcde":
        (tmp_path / name).mkdir()
        for i in range(3):
            photograph(100 * ord(name) + i).save(tmp_path / name / f"{i}.png")
    photograph(100 * ord("a")).save(tmp_path / "a" / "again.png")
    load_splits(data(tmp_path), 0)
    other = read_config({"data": {"name": "image_folder", "root": str(tmp_path), **change}}, "test").data
    (tmp_path / "a" / "new.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    decoded: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr("mtl.data.decode.opened", lambda f, side: decoded.append(f) or opened(f, side))
        splits = load_splits(other, other.split_seed)
    assert [file.name for file in decoded] in ([], ["new.png"])
    for part in (splits.train, splits.val, splits.test):
        for image, file in zip(part.images, part.files, strict=True):
            assert torch.equal(image, decode(tmp_path / file, 84, False))
    with monkeypatch.context() as patch:
        patch.setattr("mtl.data.decoded_set.decode_files", None)
        patch.setattr("mtl.data.sources.image_folder.find_copies", None)
        assert_equal_sets(load_splits(other, other.split_seed), splits)


def assert_equal_sets(one: Splits, other: Splits) -> None:
    for a, b in ((one.train, other.train), (one.val, other.val), (one.test, other.test)):
        assert (a.class_names, a.files, a.labels.tolist()) == (b.class_names, b.files, b.labels.tolist())
        assert a.mean_std() == b.mean_std()
        assert torch.equal(a.images, b.images)


def test_a_picture_of_another_class_in_a_list_is_another_set(
    tmp_path: Path, write_images: WriteImages
) -> None:
    flat_tree(tmp_path / "photos", write_images, 4)
    names = sorted(f"photos/{f.parent.name}/{f.name}" for f in (tmp_path / "photos").rglob("*.png"))
    for border in (4, 3):  # the same files in the same order
        lines = [f"{name},{'ab'[i >= border] if i < 6 else f'c{i}'}" for i, name in enumerate(names)]
        (tmp_path / "set.csv").write_text("\n".join(lines))
        splits = load_splits(data(tmp_path / "set.csv", image_size=16), 0)
        parts = (splits.train, splits.val, splits.test)
        counts = {c: int(n) for p in parts for c, n in zip(p.class_names, p.class_counts(), strict=True)}
        assert (counts["a"], counts["b"]) == (border, 6 - border)


def test_folders_and_files_of_any_name_are_kept_and_restored(tmp_path: Path, photograph: Photograph) -> None:
    photos(tmp_path, photograph)
    strange = tmp_path / "val" / os.fsdecode(b"c\xff\nat")
    (tmp_path / "val" / "c").rename(strange)
    (strange / "0.png").rename(strange / os.fsdecode(b"\xfe.png"))
    for _ in range(2):
        val = load_splits(data(tmp_path), 0).val
        assert val.class_names == ("c\\xff\\nat",)
        assert val.files[-1] == "val/c\\xff\\nat/\\xfe.png"
        assert len(val) == 4


def clips(root: Path, write_images: WriteImages, classes: int = 3) -> None:
    """Classes of three clips with 3 frames, and a picture that is of none."""
    for c in range(classes):
        for file in write_images(root / f"class {c}", 10):
            number = int(file.stem)
            file.rename(file.with_name("odd.png" if number == 9 else f"clip{number // 3}_{number}.png"))


def test_groups_come_from_the_names_of_files_and_out_of_the_cache(
    tmp_path: Path, write_images: WriteImages
) -> None:
    clips(tmp_path, write_images)
    expected = ("clip0",) * 3 + ("clip1",) * 3 + ("clip2",) * 3 + ("",)
    for _ in range(2):  # decoded, then from the cache
        splits = load_splits(data(tmp_path, image_size=16, group_by=r"^(clip\d+)_"), 0)
        assert splits.train.image_groups == splits.test.image_groups == expected
    plain = load_splits(data(tmp_path, image_size=16), 0)
    assert plain.train.image_groups == ()
    assert fingerprint(plain.train) != fingerprint(splits.train)
    with pytest.raises(UserError, match=r"data\.group_by: '\^film' fits no file below"):
        load_splits(data(tmp_path, image_size=16, group_by="^film"), 0)


@pytest.mark.parametrize(("most", "left"), [(10, 10), (7, 7), (5, 4), (2, 1)])
def test_no_group_is_cut_by_max_images_unless_there_is_no_other(
    tmp_path: Path, write_images: WriteImages, most: int, left: int
) -> None:
    clips(tmp_path, write_images)
    config = data(tmp_path, image_size=16, group_by="clip[0-9]", max_images=most)
    train = load_splits(config, 0).train
    counts = Counter(train.image_groups)
    assert counts.pop("", 0) == len(train) % 3
    assert set(counts.values()) <= {3}
    assert left - 1 <= len(train) <= most
    if most == 2:
        for folder in tmp_path.glob("class *"):
            (folder / "odd.png").unlink()
        train = load_splits(config, 0).train
        assert (len(train), len(set(train.image_groups))) == (2, 1)


def test_near_pictures_in_two_classes_are_meant_where_there_are_many(
    tmp_path: Path, photograph: Photograph
) -> None:
    """One fixed camera: four classes of five views of one part, each with noise of its own."""
    random = np.random.default_rng(0)
    scene = np.asarray(photograph(7), dtype=float)
    for name in "abcd":
        (tmp_path / name).mkdir()
        for i in range(5):
            noisy = (scene + random.normal(0, 3, scene.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / name / f"{i}.png")
    message = refusal(data(tmp_path, image_size=32))
    assert "one fixed camera" in message
    assert message.index("exact") < message.index("drop")
    splits = load_splits(data(tmp_path, image_size=32, duplicates="exact"), 0)
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 20
    shutil.copyfile(tmp_path / "a" / "0.png", tmp_path / "b" / "again.png")
    message = refusal(data(tmp_path, image_size=32, duplicates="exact"))
    assert "the same picture in two" in message
    assert "b/again.png" in message


def test_a_list_gives_the_images_of_the_folders_it_names(tmp_path: Path, write_images: WriteImages) -> None:
    flat_tree(tmp_path / "photos", write_images, 5)
    files = sorted((tmp_path / "photos").rglob("*.png"))
    lines = [f"{f.relative_to(tmp_path)},{f.parent.name}" for f in files]
    (tmp_path / "set.csv").write_text("\n".join(["path,label", *lines]))
    folder = load_splits(data(tmp_path / "photos", image_size=16), 0)
    listed = load_splits(data(tmp_path / "set.csv", image_size=16), 0)
    assert names(listed) == names(folder)
    assert torch.equal(listed.train.images, folder.train.images)
    assert listed.train.files == tuple(f"photos{os.sep}{file}" for file in folder.train.files)
    (tmp_path / "set.csv").write_text("\n".join(["path,label", *lines[2:]]))
    shorter = load_splits(data(tmp_path / "set.csv", image_size=16), 0)
    assert sum(map(len, (shorter.train, shorter.val, shorter.test))) == 8
