"""Wrong labels: how many, of which images, spread over which classes."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from mtl.config import Config
from mtl.data.class_imbalance import with_label_noise
from mtl.training.run_data import load_run_data

CLASSES, IMAGES = 6, 24_000
LABELS = torch.arange(IMAGES) % CLASSES
ALL = torch.arange(IMAGES)
ONE_SET = torch.zeros(CLASSES, dtype=torch.int64)


def test_the_share_asked_for_is_wrong_and_no_image_keeps_its_label_by_chance() -> None:
    noisy, wrong = with_label_noise(LABELS, ALL, ONE_SET, 0.3, seed=0)
    assert int(wrong.sum()) == round(0.3 * IMAGES)
    assert torch.equal(wrong, noisy != LABELS)
    with_own_class = torch.randint(CLASSES, (7200,), generator=torch.Generator().manual_seed(0))
    assert int((with_own_class != LABELS[:7200]).sum()) < 7200  # drawn among all classes, a sixth stays right


def test_every_other_class_is_equally_likely_and_every_class_loses_as_many() -> None:
    noisy, wrong = with_label_noise(LABELS, ALL, ONE_SET, 0.5, seed=0)
    moves = torch.bincount(LABELS[wrong] * CLASSES + noisy[wrong], minlength=CLASSES**2).view(
        CLASSES, CLASSES
    )
    assert moves.diagonal().tolist() == [0] * CLASSES
    to_others = moves[~torch.eye(CLASSES, dtype=torch.bool)]
    assert chisquare(to_others).pvalue > 0.01
    assert chisquare(moves.sum(1)).pvalue > 0.01
    next_alone = torch.zeros(CLASSES, CLASSES).scatter(1, (torch.arange(6)[:, None] + 1) % 6, 2000.0)
    assert chisquare(next_alone[~torch.eye(CLASSES, dtype=torch.bool)]).pvalue < 1e-9  # "pair flips" are not


def test_wrong_images_lie_anywhere_in_the_set() -> None:
    _, wrong = with_label_noise(LABELS, ALL, ONE_SET, 0.3, seed=0)
    assert chisquare(wrong.view(12, -1).sum(1)).pvalue > 0.01


@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=7),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 50),
)
def test_noise_stays_within_the_image_set_and_among_the_images_it_may_touch(
    domains: list[int], share: float, seed: int
) -> None:
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


def test_noise_reaches_every_class_of_a_set_whose_ids_are_not_in_one_piece() -> None:
    domains = torch.tensor([0, 1, 0, 1, 1, 0])
    noisy, wrong = with_label_noise(LABELS, ALL, domains, 0.5, seed=2)
    for c in range(CLASSES):
        others = [o for o in range(CLASSES) if o != c and domains[o] == domains[c]]
        counts = torch.bincount(noisy[wrong & LABELS.eq(c)], minlength=CLASSES)
        assert int(counts[others].sum()) == int(counts.sum()) > 0
        assert chisquare(counts[others]).pvalue > 0.01


def test_the_same_seed_makes_the_same_mistakes() -> None:
    one, other, third = (with_label_noise(LABELS, ALL, ONE_SET, 0.3, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_without_noise_all_labels_are_right() -> None:
    noisy, wrong = with_label_noise(LABELS, ALL, ONE_SET, 0.0, seed=0)
    assert torch.equal(noisy, LABELS)
    assert not wrong.any()


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_there_is_not_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="must be at least 0 and below 1"):
        with_label_noise(LABELS, ALL, ONE_SET, share, seed=0)


def test_only_images_that_pretraining_sees_are_mislabelled(tiny: Callable[..., Config]) -> None:
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


def _labels(run_data: object) -> Tensor:
    return run_data.splits.train.labels  # type: ignore[attr-defined, no-any-return]
