from itertools import combinations

import pytest
import torch
from PIL import ImageFont

from mtl.config import Data
from mtl.data import load_splits
from mtl.data.sources import glyphs
from mtl.data.sources import glyphs as glyph_samples
from mtl.data.sources.glyphs import faces, letters
from mtl.errors import UserError

SMALL = {"train": ("TIFINAGH", "LAO"), "val": ("OGHAM",), "test": ("HEBREW",)}


def candidates(*scripts):
    return [letter for script in scripts for letter in letters(script, faces())]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(glyphs, "SCRIPTS", SMALL)
    return glyphs.draw_set(size=28, samples=4, seed=0)


def test_no_script_is_in_two_splits():
    assert list(glyphs.SCRIPTS) == ["train", "val", "test"]
    for one, other in combinations(glyphs.SCRIPTS.values(), 2):
        assert not set(one) & set(other)


def test_the_whole_set_has_at_least_a_thousand_classes_in_every_script():
    order = [script for scripts in glyphs.SCRIPTS.values() for script in scripts]
    kept = glyphs.without_look_alikes(candidates(*order))
    assert len(kept) >= 1000
    assert len({letter.name for letter in kept}) == len(kept)
    counts = {s: sum(letter.script in scripts for letter in kept) for s, scripts in glyphs.SCRIPTS.items()}
    assert min(counts.values()) >= 100
    assert {letter.script for letter in kept} == set(order)


def test_letters_that_look_alike_count_once_and_belong_to_the_first_script():
    kept = glyphs.without_look_alikes(candidates("LATIN", "CYRILLIC", "GREEK"))
    held = {chr(letter.codepoint) for letter in kept}
    for latin, cyrillic, greek in ("AАΑ", "BВΒ", "EЕΕ", "HНΗ", "MМΜ", "PРΡ", "TТΤ", "XХΧ"):
        assert latin in held
        assert not {cyrillic, greek} & held
    assert "Κ" not in held
    assert held >= set("КЖЯψξ"), "letters of their own shape stay: Cyrillic К has bent arms"


def test_splits_hold_their_scripts_and_every_class_its_samples(small):
    for part, images in (("train", small.train), ("val", small.val), ("test", small.test)):
        assert set(images.groups or ()) == {script.title() for script in SMALL[part]}
        assert images.class_counts().unique().tolist() == [4]
        assert images.images.shape[1:] == (1, 28, 28)
        assert images.images.amax((1, 2, 3)).min() > 0
    assert small.test.class_names[0].startswith("Hebrew ")
    assert set(small.test.files[0].split()[1:]) == {f"U+{ord(small.test.class_names[0][-1]):04X}", "#0"}


def test_the_set_follows_from_the_seed(small):
    again, other = glyphs.draw_set(28, 4, 0), glyphs.draw_set(28, 4, 1)
    assert torch.equal(again.train.images, small.train.images)
    assert again.train.files == small.train.files
    assert not torch.equal(other.train.images, small.train.images)
    assert other.train.class_names == small.train.class_names


def test_a_letter_looks_the_same_whatever_else_is_in_the_set(small, monkeypatch):
    monkeypatch.setattr(glyphs, "SCRIPTS", {"train": ("NKO",), "val": ("OGHAM",), "test": ("HEBREW",)})
    other = glyphs.draw_set(28, 4, 0).test
    shared = sorted(set(other.class_names) & set(small.test.class_names))
    assert len(shared) > 15
    for name in shared:
        one, two = (x.images[x.labels == x.class_names.index(name)] for x in (other, small.test))
        assert torch.equal(one, two)


def test_every_sample_has_its_own_distortion_and_faces_vary(small):
    assert len(small.test.images.flatten(1).unique(dim=0)) == len(small.test)
    assert len({file.split()[0] for file in small.test.files}) > 3
    canvas = glyph_samples.rendered(ord("R"), faces()[0], 56).expand(16, -1, -1)
    out = glyph_samples.distorted(canvas, torch.Generator().manual_seed(0))
    assert len(out.flatten(1).unique(dim=0)) == 16


def test_a_rendered_letter_lies_in_the_middle_and_keeps_its_whole_ink():
    for face in faces():
        picture = glyph_samples.rendered(ord("g"), face, 56)
        rows, columns = (picture.amax(axis).nonzero().flatten() for axis in (1, 0))
        assert abs(int(rows[0] + rows[-1]) - 55) <= 1
        assert abs(int(columns[0] + columns[-1]) - 55) <= 1
        assert rows[0] > 0
        assert columns[0] > 0


def test_pictures_do_not_depend_on_the_layout_engine_that_pillow_finds():
    assert glyph_samples._font(faces()[0].path, 30).layout_engine == ImageFont.Layout.BASIC


def test_the_plain_face_is_first_and_computer_modern_holds_ascii_alone():
    assert faces()[0].name == "DejaVuSans"
    assert len(faces()) >= 15
    assert all(max(f.codepoints) < 128 for f in faces() if f.name.startswith("cm"))
    assert [letter.codepoint for letter in letters("LATIN", faces())][:2] == [ord("A"), ord("B")]
    assert all(letter.codepoint != ord("É") for letter in letters("LATIN", faces())), (
        "letters with a mark are left out"
    )


def test_a_second_load_renders_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(glyphs, "SCRIPTS", SMALL)
    config = Data(root=str(tmp_path), samples_per_class=2, image_size=20)
    first = load_splits(config, 0)
    assert first.val.images.shape[1:] == (1, 20, 20)
    monkeypatch.setattr(glyphs, "draw_set", None)
    assert torch.equal(load_splits(config, 0).val.images, first.val.images)


def test_colour_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data\.grayscale: glyphs have one channel"):
        load_splits(Data(root=str(tmp_path), grayscale=False), 0)
