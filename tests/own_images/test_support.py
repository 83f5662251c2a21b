"""The support set: what belongs together stays together."""

from dataclasses import fields

import pytest
import torch

from mtl.own_images.support import Support, even_shot, one_less

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
