"""Classes made small on purpose: how many images each keeps, which they are, and what that follows from."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.config import Imbalance
from mtl.data.class_imbalance import long_tailed, shares, thirds

NAMES = tuple("abcdefgh")
ALL = torch.arange(8 * 128)
LABELS = ALL % 8  # classes interleaved


def exponential(factor: float) -> Imbalance:
    return Imbalance("exponential", factor)


def kept_counts(how: Imbalance, seed: int = 0) -> list[int]:
    kept = long_tailed(LABELS, ALL, NAMES, how, seed)
    return torch.bincount(LABELS[kept], minlength=8).tolist()


def test_exponential_counts_fall_geometrically_from_all_to_one_in_factor() -> None:
    assert sorted(kept_counts(exponential(128)), reverse=True) == [128, 64, 32, 16, 8, 4, 2, 1]
    assert min(kept_counts(exponential(8))) == 16
    assert round(128 * 8 ** (-7 / 8)) == 21  # what i/C in place of i/(C-1) would leave
    cifar = shares(100, exponential(100))
    law = [100 ** (-i / 99) for i in range(100)]
    torch.testing.assert_close(cifar, torch.tensor(law, dtype=torch.float64))
    assert (round(500 * float(cifar[0])), round(500 * float(cifar[-1]))) == (500, 5)  # CIFAR-100-LT


@pytest.mark.parametrize(("classes", "small"), [(8, 4), (5, 2), (2, 1), (1, 0)])
def test_a_step_leaves_one_in_factor_of_the_second_half(classes: int, small: int) -> None:
    assert shares(classes, Imbalance("step", 4)).tolist() == [1.0] * (classes - small) + [0.25] * small


def test_a_single_class_keeps_all() -> None:
    assert shares(1, exponential(100)).tolist() == [1.0]


def test_nothing_is_left_out_unless_asked() -> None:
    rows = torch.tensor([3, 9, 10])
    assert torch.equal(long_tailed(LABELS, rows, NAMES, Imbalance(), 0), rows)
    assert kept_counts(exponential(1)) == [128] * 8


def test_which_classes_are_small_follows_from_the_seed() -> None:
    found = {tuple(kept_counts(exponential(128), seed)) for seed in range(20)}
    assert len(found) == 20
    largest = {counts.index(128) for counts in found}
    assert len(largest) > 4  # not always the first
    assert kept_counts(exponential(128), 3) == kept_counts(exponential(128), 3)


def test_which_images_stay_follows_from_seed_and_name_of_their_class_alone() -> None:
    how = Imbalance("step", 8)

    def kept(names: tuple[str, ...], labels: torch.Tensor = LABELS, seed: int = 0) -> set[int]:
        return set(long_tailed(labels, ALL, names, how, seed).tolist())

    def of(rows: set[int], label: int) -> set[int]:
        return {row for row in rows if row % 8 == label}

    plain, renamed = kept(NAMES), kept((*NAMES[:-1], "i"))
    small = [c for c in range(8) if len(of(plain, c)) == 16]
    assert len(small) == 4
    assert all(of(plain, c) == of(renamed, c) for c in range(7))
    other = next(seed for seed in range(1, 20) if len(of(kept(NAMES, seed=seed), small[0])) == 16)
    assert of(kept(NAMES, seed=other), small[0]) != of(plain, small[0])
    per_class = [sorted(row // 8 for row in of(plain, c)) for c in small]
    assert len({tuple(places) for places in per_class}) == 4  # each class by a draw of its own


def test_a_class_that_is_to_be_smaller_loses_images_and_gains_none() -> None:
    before = set(ALL.tolist())
    for factor in (2, 8, 50, 1000):
        kept = set(long_tailed(LABELS, ALL, NAMES, exponential(factor), 1).tolist())
        assert kept < before
        before = kept


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.sampled_from(["exponential", "step"]),
    st.floats(1, 1e4),
    st.integers(0, 5),
)
def test_only_images_of_the_choice_stay_and_a_class_keeps_one(
    labels: list[int], kind: str, factor: float, seed: int
) -> None:
    classes = torch.tensor(labels)
    rows = torch.arange(len(labels))[::2]  # the others are held out
    kept = long_tailed(classes, rows, NAMES[:5], Imbalance(kind, factor), seed)  # type: ignore[arg-type]
    assert set(kept.tolist()) <= set(rows.tolist())
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert set(classes[kept].tolist()) == set(classes[rows].tolist())


def test_thirds_are_by_the_number_of_images() -> None:
    found = thirds(torch.tensor([5, 90, 1, 40, 7, 300]))
    assert {name: of.tolist() for name, of in found.items()} == {
        "many": [1, 5],
        "medium": [3, 4],
        "few": [0, 2],
    }
    uneven = thirds(torch.tensor([3, 0, 3, 3, 0, 9, 1]))  # none of a class without images
    assert [of.tolist() for of in uneven.values()] == [[0, 5], [2, 3], [6]]
    assert [of.tolist() for of in thirds(torch.tensor([4, 2])).values()] == [[0], [1], []]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_thirds_share_out_all_classes_that_have_images(counts: list[int]) -> None:
    many, medium, few = (of.tolist() for of in thirds(torch.tensor(counts)).values())
    assert sorted(many + medium + few) == [c for c, n in enumerate(counts) if n]
    assert len(many) >= len(medium) >= len(few) >= len(many) - 1
    for above, below in ((many, medium), (medium, few)):
        assert all((counts[a], -a) > (counts[b], -b) for a in above for b in below)


def test_groups_stay_or_go_as_a_whole():
    labels = torch.arange(4).repeat_interleave(60)
    groups = torch.arange(240) // 10  # six clips a class
    kept = long_tailed(labels, torch.arange(240), tuple("abcd"), exponential(6), 0, groups)
    assert sorted(torch.bincount(labels[kept]).tolist()) == [10, 20, 30, 60]
    assert set(torch.bincount(groups[kept]).tolist()) <= {0, 10}
