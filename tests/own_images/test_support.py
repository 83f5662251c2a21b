"""The support set: what belongs together stays together."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from made_classifiers import HEADS, embedder, images
from torch import Tensor

from mtl.data.near_copies import Prints, SeenBefore
from mtl.own_images import classifier_file as file
from mtl.own_images.classifier import fit_classifier
from mtl.own_images.self_assessment import in_sentences, self_assessment
from mtl.own_images.support import Support, even_shot, find_views, one_less
from mtl.runtime.seeds import generator

FEATURES = torch.arange(10.0).view(5, 2)


def support(names: str = "baabc", first: float = 0) -> Support:
    return Support.of(FEATURES[: len(names)] + first, list(names), [f"{n}{i}" for i, n in enumerate(names)])


def rows(held: Support) -> set[tuple]:
    return {
        (name, file, *feature)
        for name, file, feature in zip(held.names(), held.files, held.features.tolist(), strict=True)
    }


def test_classes_are_sorted_and_counted():
    held = support()
    assert (held.classes, held.way, len(held)) == (("a", "b", "c"), 3, 5)
    assert held.labels.tolist() == [1, 0, 0, 1, 2]
    assert held.counts().tolist() == [2, 2, 1]


def test_joined_are_the_images_of_both():
    one, other = support("ab"), support("bcd", first=100)
    both = one.joined(other)
    assert both.classes == ("a", "b", "c", "d")
    assert rows(both) == rows(one) | rows(other)
    assert both.counts().tolist() == [1, 2, 1, 1]


def test_without_classes_the_others_are_left_as_they_were():
    held = support()
    left = held.without({"b"})
    assert left.classes == ("a", "c")
    assert rows(left) == {row for row in rows(held) if row[0] != "b"}
    nothing = held.without("abc")
    assert (len(nothing), nothing.way, nothing.labels.dtype) == (0, 0, torch.int64)
    assert rows(nothing.joined(left)) == rows(left)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": FEATURES[0]}, "features"),
        ({"files": ("a",)}, "S files"),
        ({"labels": torch.tensor([0, 0])}, "labels"),
        ({"labels": torch.tensor([0, 0, 1, 1, 1])}, "every class must have an image"),
        ({"labels": torch.tensor([0, 1, 2, 3, 0])}, "indices into classes"),
        ({"labels": torch.tensor([0, 1, 2, -1, 0])}, "indices into classes"),
        ({"labels": torch.tensor([0.0, 1, 2, 1, 0])}, "int64"),
        ({"classes": ("b", "a", "c")}, "sorted"),
        ({"classes": ("a", "a", "c")}, "distinct"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    held = support()
    parts = {field.name: getattr(held, field.name) for field in fields(held)}
    with pytest.raises(ValueError, match=message):
        Support(**{**parts, **change})


def test_features_of_two_networks_are_not_joined():
    with pytest.raises(ValueError, match="one length"):
        support().joined(Support.of(torch.zeros(2, 3), ["a", "b"], ["1", "2"]))


def test_unequal_numbers_are_as_their_harmonic_mean_in_each():
    assert even_shot(torch.tensor([5, 5, 5])) == pytest.approx(5)
    assert even_shot(torch.tensor([1, 3])) == pytest.approx(1.5)
    assert even_shot(torch.tensor([2, 100, 100])) == pytest.approx(3 / 0.52)
    assert one_less(torch.tensor([1, 2, 9])).tolist() == [1, 1, 8]


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


def of_bursts(made, frames: dict[str, list[int]]) -> Support:
    every = [count for of_class in frames.values() for count in of_class]
    names = [name for name, of_class in frames.items() for _ in range(sum(of_class))]
    pixels = bursts(every)
    return Support.of(made(pixels), names, [f"{i}.png" for i in range(len(names))], Prints.of(pixels))


@pytest.fixture(scope="module")
def made():
    return embedder(head=HEADS["cosine prototypes"], size=32)


def test_a_burst_is_one_view(made):
    found = find_views(of_bursts(made, {"ash": [4], "elm": [2, 3, 1], "oak": [1, 1]}))
    assert found.views.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 5]
    views = found.by_view()
    assert (len(views), views.counts().tolist(), views.classes) == (6, [1, 3, 2], CLASSES)
    means = [found.features[found.views == view].mean(0) for view in range(6)]
    torch.testing.assert_close(found.view_means(), torch.stack(means))


def test_copies_do_not_answer_for_each_other(made):
    """Whatever the pictures are, those of two views of a class are answered without their own view."""
    once = fit_classifier(made, of_bursts(made, {"ash": [1, 1], "elm": [1, 1], "oak": [1, 1]}))
    often = fit_classifier(made, of_bursts(made, {"ash": [5, 1], "elm": [3, 1], "oak": [2, 2]}))
    assert len(often.support) == 14
    assert len(often.held_out) == len(once.held_out) == 6
    for found in (once, often):
        assert found.views.counts().tolist() == [2, 2, 2]
    one, other = self_assessment(once), self_assessment(often)
    assert (one.tested, other.tested) == (6, 6)
    assert other.high - other.low > 0.5  # as six pictures have it, not fourteen


def test_where_each_class_is_one_burst_nothing_is_promised(made):
    found = fit_classifier(made, of_bursts(made, {"ash": [5], "elm": [4], "oak": [5]}))
    assert len(found.held_out) == 0
    assert found.open_set is None
    about = self_assessment(found)
    assert (about.accuracy, about.low, about.high) == (None, 0, 1)
    lines = in_sentences(about)
    assert "cannot be tested" in lines[0]
    assert lines[1:] == [
        "4 pictures of elm are 1 view, as near copies count once: vary them.",
        "5 pictures of ash are 1 view, as near copies count once: vary them.",
        "5 pictures of oak are 1 view, as near copies count once: vary them.",
    ]


def test_a_class_of_one_view_is_not_tested_and_named(made):
    found = fit_classifier(made, of_bursts(made, {"ash": [4], "elm": [1, 1, 1], "oak": [2, 1, 1]}))
    lines = in_sentences(self_assessment(found))
    assert "of 6 views" in lines[0]
    assert lines[1] == "Not tested, and not counted, as it has one view: ash."
    assert lines[2].startswith("4 pictures of ash are 1 view")
    assert lines[3] == "4 pictures of oak are 3 views, as near copies count once."


def test_a_file_keeps_views_and_what_pictures_are_recognised_by(made, tmp_path, caplog):
    before = fit_classifier(made, of_bursts(made, {"ash": [3, 1], "elm": [1, 1], "oak": [1, 2]}))
    file.save(before, tmp_path / "kept.fewshot")
    after = file.load(tmp_path / "kept.fewshot").support
    assert not caplog.records
    assert after.views.tolist() == before.support.views.tolist()
    assert after.prints.keys() == before.support.prints.keys()
    more = of_bursts(made, {"ash": [3, 1], "elm": [1, 1], "oak": [1, 4]}).some([7, 8, 9, 10])
    joined = find_views(after.joined(more))
    assert joined.by_view().counts().tolist() == [2, 2, 2]


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
