import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_folders import chosen, put, refused

from mtl.config import Data
from mtl.data.folder_classes import PARTS, Choice, choose, drawn_classes, drawn_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten classes with 1, 2, ... 10 files each; nothing is decoded here."""
    animals = ("ant", "bee", "cat", "dog", "dogfish", "eel", "fox", "gnu", "hen", "ibis")
    put(*(tmp_path / name / f"{n:02d}.png" for i, name in enumerate(animals, 1) for n in range(i)))
    return tmp_path


def refusal(root: Path, **keys: object) -> str:
    return refused(chosen, root, **keys).replace(str(root), "photos")


def names(choice: Choice) -> list[list[str]]:
    return [list(part) for part in choice.parts]


def together(parts: Sequence[Sequence[str]]) -> list[str]:
    return sorted(name for part in parts for name in part)


def test_splits_with_names_get_these_and_leave_out_the_others(folder: Path) -> None:
    choice = chosen(
        folder, classes={"train": ["cat", "dog*"], "val": ["?e[el]"], "test": ["hen", "fox", "f*"]}
    )
    assert names(choice) == [["cat", "dog", "dogfish"], ["bee", "eel"], ["fox", "hen"]]
    assert choice.report.unnamed == ("ant", "gnu", "ibis")
    assert sorted(f.name for f in choice.folders) == ["bee", "cat", "dog", "dogfish", "eel", "fox", "hen"]


def test_classes_without_a_name_are_drawn_among_the_splits_without_names(folder: Path) -> None:
    choice = chosen(folder, classes={"val": ["dog*"]}, split_fractions=[0.5, 0.1, 0.25])
    assert names(choice)[1] == ["dog", "dogfish"]
    assert [len(part) for part in choice.parts] == [5, 2, 3]  # 8 by 2 to 1
    assert choice.report.unnamed == ()
    assert together(names(choice)) == sorted(p.name for p in folder.iterdir())
    others = {str(chosen(folder, classes={"val": ["dog*"]}, split_seed=s).parts) for s in range(4)}
    assert len(others) > 1
    alone = chosen(folder, classes={"val": ["dog*"], "test": ["a*"]})
    assert len(alone.parts[0]) == 7


def test_a_name_is_taken_literally_before_it_is_a_pattern(folder: Path) -> None:
    (folder / "cat").rename(folder / "[a]*")
    assert names(chosen(folder, classes={"val": ["[a]*"]}))[1] == ["[a]*"]


def test_an_accent_may_be_written_in_either_way(folder: Path) -> None:
    (folder / "cat").rename(folder / unicodedata.normalize("NFD", "Käfer"))
    typed = unicodedata.normalize("NFC", "Käfer")
    for name in (typed, typed[:3] + "*"):
        assert names(chosen(folder, classes={"val": [name]}))[1] == [unicodedata.normalize("NFD", "Käfer")]


def test_names_that_do_not_do_are_refusal(folder: Path) -> None:
    assert refusal(folder, classes={"val": ["dogfsh"]}) == (
        "data.classes.val: 'dogfsh' fits no class of photos; did you mean dogfish?"
    )
    assert (
        refusal(folder, classes={"test": ["zebra*"]}) == "data.classes.test: 'zebra*' fits no class of photos"
    )
    assert refusal(folder, classes={"train": ["dog*"], "test": ["dogfish"]}) == (
        "data.classes: class dogfish is claimed by train ('dog*') and by test ('dogfish'); a class can be in "
        "one split only"
    )
    assert refusal(folder, classes={"train": ["*"]}) == (
        "photos: 0 classes left for val and test, which data.classes does not name; each needs one at least"
    )
    for part in PARTS:
        (folder / part / part[:2]).mkdir(parents=True)
    assert refusal(folder, classes={"val": ["va"]}).startswith(
        "data.classes: photos is divided into train, val and test already; leave data.classes out"
    )


def test_small_classes_are_left_out_before_anything_is_drawn(folder: Path) -> None:
    choice = chosen(folder, min_images=4)
    assert choice.report.scarce == {"ant": 1, "bee": 2, "cat": 3}
    assert "cat" not in together(names(choice))
    assert sum(map(len, choice.parts)) == 7
    assert names(chosen(folder, min_images=4, classes={"val": ["ca*", "eel"]}))[1] == ["eel"]
    assert refusal(folder, min_images=9) == (
        "photos: holds 2 classes; at least 3 are needed to split them (8 more have fewer images than "
        "data.min_images = 9)"
    )
    assert refusal(folder, min_images=4, classes={"val": ["cat"]}) == (
        "photos: val is left without a class (3 more have fewer images than data.min_images = 4)"
    )


def test_given_splits_lose_small_classes_too(tmp_path: Path) -> None:
    for part, classes in {"train": "ab", "val": "c", "test": "de"}.items():
        for count, name in enumerate(classes, 1):
            put(*(tmp_path / part / name / f"{n}.png" for n in range(count)))
    choice = chosen(tmp_path)
    assert names(choice) == [["a", "b"], ["c"], ["d", "e"]]
    assert refusal(tmp_path, min_images=2) == (
        "photos: val is left without a class (3 more have fewer images than data.min_images = 2)"
    )
    put(tmp_path / "val" / "c" / "1.png")
    assert names(chosen(tmp_path, min_images=2)) == [["b"], ["c"], ["e"]]


def test_pictures_that_are_too_deep_are_hinted_at(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name / "2024").mkdir(parents=True)
    assert refusal(tmp_path) == (
        "photos: holds 0 classes; at least 3 are needed to split them (3 more have no images; images must "
        "be right in <class>/, folders below that are not looked into)"
    )


def test_no_class_has_more_than_it_may(folder: Path) -> None:
    choice = chosen(folder, max_images=3)
    assert choice.report.capped == {
        "dog": 4,
        "dogfish": 5,
        "eel": 6,
        "fox": 7,
        "gnu": 8,
        "hen": 9,
        "ibis": 10,
    }
    files = {name: found for part in choice.parts for name, found in part.items()}
    assert {name: len(found) for name, found in files.items()} == {
        **dict.fromkeys(files, 3),
        "ant": 1,
        "bee": 2,
    }
    assert all(found == sorted(found) for found in files.values())


@given(
    count=st.integers(1, 30),
    most=st.integers(1, 30),
    seed=st.integers(0, 2**40),
    more=st.sets(st.integers(100, 120)),
)
def test_which_images_stay_depends_on_seed_class_and_file_alone(
    count: int, most: int, seed: int, more: set[int]
) -> None:
    files = [Path("somewhere", f"{n}.png") for n in range(count)]
    stay = drawn_images(files, "cat", most, seed)
    assert len(stay) == min(count, most)
    moved = drawn_images([Path("elsewhere", f.name) for f in files[::-1]], "cat", most, seed)
    assert [f.name for f in moved] == [f.name for f in stay]
    grown = drawn_images([*files, *(Path(f"{n}.png") for n in more)], "cat", most, seed)
    assert set(grown) - {Path(f"{n}.png") for n in more} <= set(stay)  # new files only take places
    assert set(stay) <= set(drawn_images(files, "cat", most + 1, seed))


def test_a_class_draws_its_images_as_before_when_another_comes(folder: Path) -> None:
    def of_ibis() -> list[Path]:
        return next(p["ibis"] for p in chosen(folder, max_images=3).parts if "ibis" in p)

    before = of_ibis()
    put(*(folder / "aardvark" / f"{n}.png" for n in range(20)))
    assert of_ibis() == before
    drawn = [
        drawn_images([Path(f"{n}.png") for n in range(9)], name, 3, seed)
        for name, seed in (("a", 0), ("b", 0), ("a", 1))
    ]
    assert len({tuple(d) for d in drawn}) == 3


@given(st.integers(3, 40), st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=3), st.integers(0, 2**40))
def test_classes_are_divided_without_loss_and_no_part_is_empty(
    count: int, shares: list[float], seed: int
) -> None:
    classes = [f"{n:02d}" for n in range(count)]
    parts = drawn_classes(classes, shares, seed)
    assert together(parts) == classes
    assert all(parts)
    for part, share in zip(parts, shares, strict=True):
        assert abs(len(part) - share / sum(shares) * count) <= 2


def test_what_is_passed_over_is_named(folder: Path) -> None:
    before = names(chosen(folder))
    (folder / "zz self").symlink_to(folder)
    (folder / "zz above").symlink_to(folder.parent)
    (folder / "lost\n").symlink_to("nowhere")
    (folder / "cat" / "lost.png").symlink_to("nowhere")
    (folder / "dog" / "2024").mkdir()
    put(folder / "notes.txt", folder / "cat" / "@eaDir" / "1.png")
    nowhere, above = "is a link that leads nowhere", "is a link to a folder above it"
    choice = chosen(folder)
    assert names(choice) == before
    assert choice.report.passed_over == {
        **{"zz above": above, "zz self": above, "dog/2024": "is a folder in a class"},
        **{"lost\\n": nowhere, "cat/lost.png": nowhere},
        "cat/@eaDir": "is a folder of the system, not of pictures",
    }
    (folder / "zz other").symlink_to(folder / "gnu")
    assert "zz other" in together(names(chosen(folder)))


def test_in_given_splits_too_it_is_named(tmp_path: Path) -> None:
    put(*(tmp_path / name / "0.png" for name in ("train/a", "val/b", "test/c", "more/d")))
    (tmp_path / "val" / "up").symlink_to(tmp_path)
    (tmp_path / "test" / "c" / "2024").mkdir()
    assert chosen(tmp_path).report.passed_over == {
        "more": "is beside train, val and test",
        "val/up": "is a link to a folder above it",
        "test/c/2024": "is a folder in a class",
    }


def test_a_class_may_be_called_train(folder: Path) -> None:
    (folder / "cat").rename(folder / "train")
    assert "train" in together(names(chosen(folder)))
    for part in ("val", "test"):
        (folder / part / f"{part} deeper").mkdir(parents=True)
    assert refusal(folder).startswith("photos: has val, test but not train; give all three, or only classes")
    (folder / "train" / "val deeper").mkdir()
    assert refusal(folder).startswith("photos: class val deeper is in train and in val")


def test_folders_of_any_name_are_classes_with_names_that_can_be_stored(folder: Path) -> None:
    (folder / "cat").rename(folder / os.fsdecode(b"c\xffa\nt"))
    choice = chosen(folder, classes={"val": ["c*"]})
    assert list(choice.parts[1]) == ["c\\xffa\\nt"]
    assert len(choice.parts[1]["c\\xffa\\nt"]) == 3
    (folder / "bee").rename(folder / "c\\xffa\\nt")
    assert refusal(folder) == "photos: two classes would be called c\\xffa\\nt; rename one of them"


def test_the_usual_config_draws_as_it_always_did(folder: Path) -> None:
    assert names(choose(folder, Data(name="image_folder"), 0)) == [
        list(part) for part in drawn_classes(sorted(p.name for p in folder.iterdir()), (0.6, 0.2, 0.2), 0)
    ]
