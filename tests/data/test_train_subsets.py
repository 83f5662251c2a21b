"""Base images are held out first, then left out, then mislabelled."""

import torch

from mtl.config import Data, Imbalance
from mtl.data.class_imbalance import share_out
from mtl.data.image_set import ImageSet

NAMES = tuple(f"class {c}" for c in range(5))
LABELS = torch.arange(5).repeat_interleave(20)
TRAIN = ImageSet(torch.zeros(100, 1, 4, 4, dtype=torch.uint8), LABELS, NAMES)
_CHANGES = {"probe_fraction": 0.25, "imbalance": Imbalance("exponential", 5.0), "label_noise": 0.3}
ALL = Data(**_CHANGES)


def test_without_changes_pretraining_sees_every_image_as_it_is():
    shares = share_out(TRAIN, Data())
    assert shares.seen.tolist() == list(range(100))
    assert not len(shares.held_out)
    assert torch.equal(shares.labels, LABELS)
    assert not shares.mislabelled.any()


def test_what_is_held_out_is_balanced_and_clean():
    shares = share_out(TRAIN, ALL)
    assert torch.bincount(LABELS[shares.held_out]).tolist() == [5] * 5
    assert not shares.mislabelled[shares.held_out].any()
    assert not set(shares.seen.tolist()) & set(shares.held_out.tolist())
    counts = sorted(torch.bincount(LABELS[shares.seen], minlength=5).tolist())
    assert (counts[0], counts[-1]) == (3, 15)  # a fifth of the 15 that are left, and all of them
    assert int(shares.mislabelled.sum()) == round(0.3 * len(shares.seen))
    assert torch.equal(shares.labels != LABELS, shares.mislabelled)
    assert set(shares.mislabelled.nonzero().flatten().tolist()) <= set(shares.seen.tolist())


def test_it_depends_on_the_split_seed_alone():
    one, same = share_out(TRAIN, ALL), share_out(TRAIN, ALL)
    assert torch.equal(one.seen, same.seen)
    assert torch.equal(one.labels, same.labels)
    other = share_out(TRAIN, Data(split_seed=1, **_CHANGES))
    assert not torch.equal(one.seen, other.seen)
