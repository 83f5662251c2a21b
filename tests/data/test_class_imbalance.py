"""Classes made small on purpose: how many images each keeps, which they are, and what that follows from."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtl.config import Data, Imbalance
from mtl.data.class_imbalance import (
    effective_number,
    inverse_frequency,
    long_tailed,
    share_out,
    shares,
    thirds,
    with_label_noise,
)
from mtl.data.image_set import ImageSet
from mtl.training.run_data import load_run_data

NAMES = tuple("abcdefgh")
ALL = torch.arange(8 * 128)
LABELS = ALL % 8  # classes interleaved


def exponential(factor):
    return Imbalance("exponential", factor)


def kept_counts(how, seed=0):
    kept = long_tailed(LABELS, ALL, NAMES, how, seed)
    return torch.bincount(LABELS[kept], minlength=8).tolist()


def test_exponential_counts_fall_geometrically_from_all_to_one_in_factor():
    assert sorted(kept_counts(exponential(128)), reverse=True) == [128, 64, 32, 16, 8, 4, 2, 1]
    assert min(kept_counts(exponential(8))) == 16
    assert round(128 * 8 ** (-7 / 8)) == 21  # what i/C in place of i/(C-1) would leave
    cifar = shares(100, exponential(100))
    law = [100 ** (-i / 99) for i in range(100)]
    torch.testing.assert_close(cifar, torch.tensor(law, dtype=torch.float64))
    assert (round(500 * float(cifar[0])), round(500 * float(cifar[-1]))) == (500, 5)  # CIFAR-100-LT


@pytest.mark.parametrize(("classes", "small"), [(8, 4), (5, 2), (2, 1), (1, 0)])
def test_a_step_leaves_one_in_factor_of_the_second_half(classes, small):
    assert shares(classes, Imbalance("step", 4)).tolist() == [1.0] * (classes - small) + [0.25] * small


def test_a_single_class_keeps_all():
    assert shares(1, exponential(100)).tolist() == [1.0]


def test_nothing_is_left_out_unless_asked():
    rows = torch.tensor([3, 9, 10])
    assert torch.equal(long_tailed(LABELS, rows, NAMES, Imbalance(), 0), rows)
    assert kept_counts(exponential(1)) == [128] * 8


def test_which_classes_are_small_follows_from_the_seed():
    found = {tuple(kept_counts(exponential(128), seed)) for seed in range(20)}
    assert len(found) == 20
    largest = {counts.index(128) for counts in found}
    assert len(largest) > 4  # not always the first
    assert kept_counts(exponential(128), 3) == kept_counts(exponential(128), 3)


def test_which_images_stay_follows_from_seed_and_name_of_their_class_alone():
    how = Imbalance("step", 8)

    def kept(names, labels=LABELS, seed=0):
        return set(long_tailed(labels, ALL, names, how, seed).tolist())

    def of(rows, label):
        return {row for row in rows if row % 8 == label}

    plain, renamed = kept(NAMES), kept((*NAMES[:-1], "i"))
    small = [c for c in range(8) if len(of(plain, c)) == 16]
    assert len(small) == 4
    assert all(of(plain, c) == of(renamed, c) for c in range(7))
    other = next(seed for seed in range(1, 20) if len(of(kept(NAMES, seed=seed), small[0])) == 16)
    assert of(kept(NAMES, seed=other), small[0]) != of(plain, small[0])
    per_class = [sorted(row // 8 for row in of(plain, c)) for c in small]
    assert len({tuple(places) for places in per_class}) == 4  # each class by a draw of its own


def test_a_class_that_is_to_be_smaller_loses_images_and_gains_none():
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
def test_only_images_of_the_choice_stay_and_a_class_keeps_one(labels, kind, factor, seed):
    classes = torch.tensor(labels)
    rows = torch.arange(len(labels))[::2]  # the others are held out
    kept = long_tailed(classes, rows, NAMES[:5], Imbalance(kind, factor), seed)
    assert set(kept.tolist()) <= set(rows.tolist())
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert set(classes[kept].tolist()) == set(classes[rows].tolist())


def test_thirds_are_by_the_number_of_images():
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
def test_thirds_share_out_all_classes_that_have_images(counts):
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


COUNTS = torch.tensor([410, 506, 146, 103])

counts_of_classes = st.lists(st.integers(1, 60), min_size=1, max_size=6)


def _exact(n, beta):
    """(1 − β)/(1 − βⁿ) without rounding, of the very float that β is."""
    beta = Fraction(beta)
    return float((1 - beta) / (1 - beta**n))


def test_inverse_frequency_is_one_over_the_count():
    assert inverse_frequency(COUNTS).tolist() == [1 / 410, 1 / 506, 1 / 146, 1 / 103]


@settings(max_examples=80, deadline=None)
@given(counts=counts_of_classes, beta=st.floats(0, 1, exclude_max=True))
def test_effective_numbers_are_exact_for_any_beta(counts, beta):
    found = effective_number(torch.tensor(counts), beta)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([_exact(n, beta) for n in counts], rel=1e-13)


@pytest.mark.parametrize("gap", [1e-7, 1e-8, 1e-9])
def test_beta_close_to_one_needs_expm1(gap):
    beta = 1 - gap
    exact = pytest.approx([_exact(n, beta) for n in (3, 7)], rel=1e-13)
    assert effective_number(torch.tensor([3, 7]), beta).tolist() == exact
    assert [(1 - beta) / (1 - beta**n) for n in (3, 7)] != exact  # the formula as it is written


def test_beta_close_to_one_comes_to_inverse_frequency():
    torch.testing.assert_close(effective_number(COUNTS, 1 - 2.0**-53), inverse_frequency(COUNTS))


def test_beta_of_zero_counts_classes_alike():
    assert effective_number(torch.tensor([1, 2, 10**12]), 0.0).tolist() == [1, 1, 1]
    assert effective_number(torch.tensor([1, 2, 10**12]), 5e-324).tolist() == [1, 1, 1]
    assert effective_number(torch.tensor([10**15]), 0.75).tolist() == [0.25]  # counts without end: 1 - beta


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9999])
def test_classes_without_images_count_nothing(beta):
    assert effective_number(torch.tensor([0, 4, 0]), beta)[[0, 2]].tolist() == [0, 0]
    assert inverse_frequency(torch.tensor([0, 4, 0])).tolist() == [0, 0.25, 0]
    assert inverse_frequency(torch.tensor([], dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("weigh", [inverse_frequency, lambda counts: effective_number(counts, 0.9)])
@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (torch.tensor([[1, 2]]), "whole numbers"),
        (torch.tensor([1.0, 2.0]), "whole numbers"),
        (torch.tensor([1, -2]), "one is -2"),
    ],
)
def test_counts_that_are_none_are_refused(weigh, counts, words):
    with pytest.raises(ValueError, match=words):
        weigh(counts)


@pytest.mark.parametrize("beta", [-0.1, 1.0, 1.5, float("nan")])
def test_beta_outside_its_range_is_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        effective_number(COUNTS, beta)


CLASSES, IMAGES = 6, 24_000
NOISE_LABELS = torch.arange(IMAGES) % CLASSES
NOISE_ALL = torch.arange(IMAGES)
ONE_SET = torch.zeros(CLASSES, dtype=torch.int64)


def test_the_share_asked_for_is_wrong_and_no_image_keeps_its_label_by_chance():
    noisy, wrong = with_label_noise(NOISE_LABELS, NOISE_ALL, ONE_SET, 0.3, seed=0)
    assert int(wrong.sum()) == round(0.3 * IMAGES)
    assert torch.equal(wrong, noisy != NOISE_LABELS)
    again, other = (with_label_noise(NOISE_LABELS, NOISE_ALL, ONE_SET, 0.3, seed)[0] for seed in (0, 1))
    assert torch.equal(again, noisy)
    assert not torch.equal(other, noisy)


def test_every_other_class_is_equally_likely_and_every_class_loses_as_many():
    noisy, wrong = with_label_noise(NOISE_LABELS, NOISE_ALL, ONE_SET, 0.5, seed=0)
    moves = torch.bincount(NOISE_LABELS[wrong] * CLASSES + noisy[wrong], minlength=CLASSES**2).view(
        CLASSES, CLASSES
    )
    assert moves.diagonal().tolist() == [0] * CLASSES
    to_others = moves[~torch.eye(CLASSES, dtype=torch.bool)]
    assert chisquare(to_others).pvalue > 0.01
    assert chisquare(moves.sum(1)).pvalue > 0.01
    next_alone = torch.zeros(CLASSES, CLASSES).scatter(1, (torch.arange(6)[:, None] + 1) % 6, 2000.0)
    assert chisquare(next_alone[~torch.eye(CLASSES, dtype=torch.bool)]).pvalue < 1e-9  # "pair flips" are not


def test_wrong_images_lie_anywhere_in_the_set():
    _, wrong = with_label_noise(NOISE_LABELS, NOISE_ALL, ONE_SET, 0.3, seed=0)
    assert chisquare(wrong.view(12, -1).sum(1)).pvalue > 0.01


@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=7), st.floats(0, 1, exclude_max=True), st.integers(0, 50)
)
def test_noise_stays_within_the_image_set_and_among_the_images_it_may_touch(domains, share, seed):
    where = torch.tensor(domains)  # sets of classes that lie between each other
    labels = torch.arange(200) % len(domains)
    rows = torch.arange(200)[torch.arange(200) % 3 > 0]
    before = labels.clone()
    noisy, wrong = with_label_noise(labels, rows, where, share, seed)
    assert torch.equal(labels, before)
    assert torch.equal(where[noisy], where[labels])
    assert set(wrong.nonzero().flatten().tolist()) <= set(rows.tolist())
    assert torch.equal(wrong, noisy != labels)
    lonely = [c for c in range(len(domains)) if domains.count(domains[c]) == 1]
    assert not wrong[torch.isin(labels, torch.tensor(lonely, dtype=torch.int64))].any()
    if not lonely:
        assert int(wrong.sum()) == round(share * len(rows))


def test_noise_reaches_every_class_of_a_set_whose_ids_are_not_in_one_piece():
    domains = torch.tensor([0, 1, 0, 1, 1, 0])
    noisy, wrong = with_label_noise(NOISE_LABELS, NOISE_ALL, domains, 0.5, seed=2)
    for c in range(CLASSES):
        others = [o for o in range(CLASSES) if o != c and domains[o] == domains[c]]
        counts = torch.bincount(noisy[wrong & NOISE_LABELS.eq(c)], minlength=CLASSES)
        assert int(counts[others].sum()) == int(counts.sum()) > 0
        assert chisquare(counts[others]).pvalue > 0.01


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_there_is_not_is_refused(share):
    with pytest.raises(ValueError, match="must be at least 0 and below 1"):
        with_label_noise(NOISE_LABELS, NOISE_ALL, ONE_SET, share, seed=0)


def test_only_images_that_pretraining_sees_are_mislabelled(tiny):
    uneven = {"probe_fraction": 0.4, "imbalance": {"type": "exponential", "factor": 3}}
    plain = load_run_data(tiny(data=uneven))
    noisy = load_run_data(tiny(data={**uneven, "label_noise": 0.5}))
    assert torch.equal(plain.pretrain_images, noisy.pretrain_images)
    assert not plain.mislabelled.any()
    assert int(noisy.mislabelled.sum()) == round(0.5 * len(noisy.pretrain_images))
    assert noisy.mislabelled[noisy.pretrain_images].sum() == noisy.mislabelled.sum()
    assert torch.equal(_labels(plain)[noisy.held_out], _labels(noisy)[noisy.held_out])
    assert torch.equal(_labels(plain) != _labels(noisy), noisy.mislabelled)
    for split in ("val", "test"):
        assert torch.equal(plain.split(split).labels, noisy.split(split).labels)
    assert plain.normalise == noisy.normalise
    assert torch.equal(plain.index("train").members, noisy.index("train").members)  # episodes: held out


def _labels(run_data):
    return run_data.splits.train.labels


FIVE_NAMES = tuple(f"class {c}" for c in range(5))
FIVE_LABELS = torch.arange(5).repeat_interleave(20)
TRAIN = ImageSet(torch.zeros(100, 1, 4, 4, dtype=torch.uint8), FIVE_LABELS, FIVE_NAMES)
CHANGES = {"probe_fraction": 0.25, "imbalance": Imbalance("exponential", 5.0), "label_noise": 0.3}
CHANGED = Data(**CHANGES)


def test_without_changes_pretraining_sees_every_image_as_it_is():
    shares = share_out(TRAIN, Data())
    assert shares.seen.tolist() == list(range(100))
    assert not len(shares.held_out)
    assert torch.equal(shares.labels, FIVE_LABELS)
    assert not shares.mislabelled.any()


def test_what_is_held_out_is_balanced_and_clean():
    shares = share_out(TRAIN, CHANGED)
    assert torch.bincount(FIVE_LABELS[shares.held_out]).tolist() == [5] * 5
    assert not shares.mislabelled[shares.held_out].any()
    assert not set(shares.seen.tolist()) & set(shares.held_out.tolist())
    counts = sorted(torch.bincount(FIVE_LABELS[shares.seen], minlength=5).tolist())
    assert (counts[0], counts[-1]) == (3, 15)  # a fifth of the 15 that are left, and all of them
    assert int(shares.mislabelled.sum()) == round(0.3 * len(shares.seen))
    assert torch.equal(shares.labels != FIVE_LABELS, shares.mislabelled)
    assert set(shares.mislabelled.nonzero().flatten().tolist()) <= set(shares.seen.tolist())


def test_it_depends_on_the_split_seed_alone():
    one, same = share_out(TRAIN, CHANGED), share_out(TRAIN, CHANGED)
    assert torch.equal(one.seen, same.seen)
    assert torch.equal(one.labels, same.labels)
    other = share_out(TRAIN, Data(split_seed=1, **CHANGES))
    assert not torch.equal(one.seen, other.seen)
