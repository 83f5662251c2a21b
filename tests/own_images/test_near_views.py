"""Support sets with near copies: what counts once, and what a classifier then says of itself."""

import numpy as np
import pytest
import torch
from made_classifiers import HEADS, embedder, images
from torch import Tensor

from mtl.data.near_copies import Prints, SeenBefore
from mtl.own_images import classifier_file as file
from mtl.own_images.classifier import fit
from mtl.own_images.near_views import find_views
from mtl.own_images.self_assessment import near_copies_told, outlook, told
from mtl.own_images.support import Support
from mtl.runtime.seeds import generator

CLASSES = ("ash", "elm", "oak")


def burst(image: Tensor, count: int) -> Tensor:
    """A picture (1, size, size), and frames with noise of the same scene."""
    random = generator(0, "burst", count)
    noise = 4 * torch.randn(count - 1, *image.shape, generator=random)
    return torch.cat([image[None], (image + noise).round().clamp(0, 255).to(torch.uint8)])


def bursts(frames: list[int]) -> Tensor:
    """A burst of so many frames for each number."""
    scenes = images(len(frames), size=32)
    return torch.cat([burst(scene, count) for scene, count in zip(scenes, frames, strict=True)])


def support(made, frames: dict[str, list[int]]) -> Support:
    every = [count for of_class in frames.values() for count in of_class]
    names = [name for name, of_class in frames.items() for _ in range(sum(of_class))]
    pixels = bursts(every)
    return Support.of(made(pixels), names, [f"{i}.png" for i in range(len(names))], Prints.of(pixels))


@pytest.fixture(scope="module")
def made():
    return embedder(head=HEADS["cosine prototypes"], size=32)


def test_a_burst_is_one_view(made):
    found = find_views(support(made, {"ash": [4], "elm": [2, 3, 1], "oak": [1, 1]}))
    assert found.views.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 5]
    views = found.by_view()
    assert (len(views), views.counts().tolist(), views.classes) == (6, [1, 3, 2], CLASSES)
    means = [found.features[found.views == view].mean(0) for view in range(6)]
    torch.testing.assert_close(found.view_means(), torch.stack(means))


def test_copies_do_not_answer_for_each_other(made):
    """Whatever the pictures are, those of two views of a class are answered without their own view."""
    once = fit(made, support(made, {"ash": [1, 1], "elm": [1, 1], "oak": [1, 1]}))
    often = fit(made, support(made, {"ash": [5, 1], "elm": [3, 1], "oak": [2, 2]}))
    assert len(often.support) == 14
    assert len(often.held_out) == len(once.held_out) == 6
    for found in (once, often):
        assert found.views.counts().tolist() == [2, 2, 2]
    one, other = outlook(once), outlook(often)
    assert (one.tested, other.tested) == (6, 6)
    assert other.high - other.low > 0.5  # as six pictures have it, not fourteen


def test_where_each_class_is_one_burst_nothing_is_promised(made):
    found = fit(made, support(made, {"ash": [5], "elm": [4], "oak": [5]}))
    assert len(found.held_out) == 0
    assert found.open_set is None
    about = outlook(found)
    assert (about.accuracy, about.low, about.high) == (None, 0, 1)
    lines = told(about)
    assert "cannot be tested" in lines[0]
    assert lines[1:] == [
        "4 pictures of elm are 1 view, as near copies count once: vary them.",
        "5 pictures of ash are 1 view, as near copies count once: vary them.",
        "5 pictures of oak are 1 view, as near copies count once: vary them.",
    ]


def test_a_class_of_one_view_is_not_tested_and_named(made):
    found = fit(made, support(made, {"ash": [4], "elm": [1, 1, 1], "oak": [2, 1, 1]}))
    lines = told(outlook(found))
    assert "of 6 views" in lines[0]
    assert lines[1] == "Not tested, and not counted, as it has one view: ash."
    assert lines[2].startswith("4 pictures of ash are 1 view")
    assert lines[3] == "4 pictures of oak are 3 views, as near copies count once."


def test_without_copies_nothing_is_said(made):
    held = find_views(support(made, {"ash": [1, 1, 1], "elm": [1, 1]}))
    assert near_copies_told(held) == []
    assert held.by_view() is held


def test_a_file_keeps_views_and_what_pictures_are_recognised_by(made, tmp_path, caplog):
    before = fit(made, support(made, {"ash": [3, 1], "elm": [1, 1], "oak": [1, 2]}))
    file.save(before, tmp_path / "kept.fewshot")
    after = file.load(tmp_path / "kept.fewshot").support
    assert not caplog.records
    assert after.views.tolist() == before.support.views.tolist()
    assert after.prints.keys() == before.support.prints.keys()
    more = support(made, {"ash": [3, 1], "elm": [1, 1], "oak": [1, 4]}).some([7, 8, 9, 10])
    joined = find_views(after.joined(more))
    assert joined.by_view().counts().tolist() == [2, 2, 2]


def test_a_file_of_an_earlier_version_is_read_without_them(made, tmp_path, monkeypatch, caplog):
    before, tensors = fit(made, support(made, {"ash": [1, 1], "elm": [1, 1]})), file._tensors
    new = ("support.views", "support.digests", "support.thumbnails")
    monkeypatch.setattr(
        file, "_tensors", lambda x: {name: t for name, t in tensors(x).items() if name not in new}
    )
    file.save(before, tmp_path / "old.fewshot")
    after = file.load(tmp_path / "old.fewshot")
    assert "old.fewshot: comes from an earlier version" in caplog.text
    assert not after.support.prints.known().any()
    assert after.support.views.tolist() == [0, 1, 2, 3]
    queries = made(images(5, size=32, seed=1))
    assert torch.equal(after.answer(queries).probabilities, before.answer(queries).probabilities)
    assert not torch.cat(SeenBefore(after.support.prints)(Prints.of(images(4, size=32)))).any()


def test_pictures_are_recognised():
    known = images(3, size=32)
    near = (known[:1].int() + 9).clamp(0, 255).to(torch.uint8)
    same, nearly = SeenBefore(Prints.of(known))(
        Prints.of(torch.cat([images(2, size=32, seed=5), known, near]))
    )
    assert same.tolist() == [False, False, True, True, True, False]
    assert nearly.tolist() == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": torch.tensor([0, 0, 2])}, "numbered"),
        ({"views": torch.tensor([1, 0, 2])}, "numbered"),
        ({"views": torch.tensor([0, 1, 1])}, "of one class"),
        ({"views": torch.tensor([0, 1])}, "int64 views"),
        ({"prints": Prints.unknown(2)}, "prints"),
    ],
)
def test_views_that_do_not_fit_are_refused(change, message):
    parts = {
        "features": torch.zeros(3, 2),
        "labels": torch.tensor([0, 0, 1]),
        "classes": ("a", "b"),
        "files": ("1", "2", "3"),
        "prints": Prints.unknown(3),
        "views": torch.arange(3),
    }
    Support(**parts)
    with pytest.raises(ValueError, match=message):
        Support(**{**parts, **change})


def test_a_digest_is_of_the_pixels():
    pixels = images(2, channels=3, size=20)
    one, other = Prints.of(pixels), Prints.of(torch.from_numpy(np.array(pixels)))
    assert one.keys() == other.keys()
    assert len(set(one.keys())) == 2
    assert Prints.joined([one, other]).some([3]).keys() == one.keys()[1:]
