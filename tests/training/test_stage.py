"""What both stages share: the images that a ledger's numbers stand for, and what a person sees."""

import dataclasses

import pytest
import torch

from mtl.data import ImageSet
from mtl.data.image_set import fingerprint
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.errors import UserError
from mtl.ledger.queries import class_names
from mtl.ledger.store import Ledger
from mtl.training.stage import register, require_same_images, warm_up_cosine

IMAGES = ImageSet(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.arange(6) // 2, ("a", "b", "c"))
OTHERS = dataclasses.replace(IMAGES, images=IMAGES.images + 1, class_names=("x", "y", "z"))


def _solve(ledger, phase, split, classes):
    images = torch.arange(4).reshape(1, 2, 2)
    batch = EpisodeBatch(torch.tensor([classes]), images[..., :1], images[..., 1:], ("uniform",), (0,))
    ledger.append(phase, 0, 0, batch, Outcome.of(torch.eye(2)[None], 2, 1), split)


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "hard_tasks.sqlite") as ledger:
        yield ledger


def test_a_split_is_known_by_its_classes_and_images(ledger):
    register(ledger, "test", IMAGES)
    _solve(ledger, "p", "test", [0, 2])
    assert class_names(ledger, ledger.phase("p")) == {0: "a", 1: "b", 2: "c"}
    assert ledger.images() == {"test": fingerprint(IMAGES)}


def test_what_was_solved_on_other_images_goes_and_the_rest_stays(ledger):
    register(ledger, "test", IMAGES)
    register(ledger, "val", IMAGES)
    for phase, split in (("p", "test"), ("q", "val"), ("r", "test")):
        _solve(ledger, phase, split, [0, 2])
    register(ledger, "test", IMAGES)
    assert [p.name for p in ledger.phases()] == ["p", "q", "r"]
    register(ledger, "test", dataclasses.replace(OTHERS, images=OTHERS.images[:2], labels=OTHERS.labels[:2]))
    assert [p.name for p in ledger.phases()] == ["q"]
    _solve(ledger, "p", "test", [0, 1])
    assert class_names(ledger, ledger.phase("p")) == {0: "x", 1: "y", 2: "z"}


def test_going_on_with_other_images_is_refused(tmp_path):
    require_same_images(tmp_path, None, "train", IMAGES)  # where nothing is recorded
    require_same_images(tmp_path, fingerprint(IMAGES), "train", IMAGES)
    with pytest.raises(UserError, match="the images of the train split are not those"):
        require_same_images(tmp_path, fingerprint(IMAGES), "train", OTHERS)


def test_the_learning_rate_climbs_in_equal_steps_and_falls_along_half_a_cosine():
    factors = [warm_up_cosine(step, 100, 0.1) for step in range(101)]
    assert factors[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0, abs=1e-12)
    assert [warm_up_cosine(step, 4, 0.0) for step in (0, 2)] == pytest.approx([1.0, 0.5])
