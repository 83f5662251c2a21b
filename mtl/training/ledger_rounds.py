"""Writing into the ledger what samplers and image sets know in their own terms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mtl.data import ImageSet
from mtl.data.image_set import fingerprint
from mtl.episodes.episode import Round
from mtl.errors import UserError
from mtl.ledger import store as ledgers


def register(ledger: ledgers.Ledger, split: str, images: ImageSet) -> None:
    """Says which images and classes the numbers of a split stand for.

    What was solved on other images of that name goes: its numbers would be read as those of these.
    """
    own = fingerprint(images)
    if ledger.images().get(split, own) != own:
        for phase in ledger.phases():
            if phase.split == split:
                ledger.clear(phase.name)
    groups = None if images.groups is None else dict(enumerate(images.groups))
    ledger.register_classes(split, dict(enumerate(images.class_names)), groups)
    ledger.register_images(split, own)


def require_same_images(ledger: ledgers.Ledger, split: str, images: ImageSet) -> None:
    """Checks that a stage goes on with the images that it began with.

    Raises:
        UserError: they are others.
    """
    own = fingerprint(images)
    if ledger.images().get(split, own) != own:
        raise UserError(
            f"{ledger.path}: the images of the {split} split are not those that the run began with; "
            "bring those back, or begin another run with run=NAME"
        )


def require_same_training_images(path: Path, saved: Mapping[str, Any], train: ImageSet) -> None:
    """Checks that a stage without a ledger goes on with the images that it began with.

    Args:
        path: of its last checkpoint.
        saved: that checkpoint; of older versions, its classes are compared alone.
        train: the train split.

    Raises:
        UserError: they are others.
    """
    same = saved["classes"] == list(train.class_names)
    if not same or saved.get("fingerprint", now := fingerprint(train)) != now:
        what = "images" if same else "classes"
        raise UserError(
            f"{path}: the {what} of the train split are not those that the run began with; bring those "
            "back, or begin another run with run=NAME"
        )


def bridge_gap(ledger: ledgers.Ledger, phase: str, saved: Mapping[str, Any], train: ImageSet) -> None:
    """Makes a ledger that is not the one of a checkpoint fit for its phase to go on.

    A ledger that lags behind keeps what it has. One that is ahead loses all of the phase: its sums cannot be
    taken back to an earlier step.
    """
    if ledger.token() == saved["token"]:
        return
    last = ledger.last_step(phase)
    if last is not None and last >= saved["step"]:
        ledger.clear(phase)
    register(ledger, "train", train)


def round_numbers(ended: Round) -> dict[str, float | None]:
    """What can be drawn of a round over the training; None where the sampler's rule knows no error."""
    return {
        "epsilon": ended.epsilon,
        "alpha": None if ended.epsilon is None else ended.alpha,
        "pool_accuracy": ended.accuracy,
        "hard_share": ended.hard_share,
    }


def record_round(ledger: ledgers.Ledger, phase: str, split: str, step: int, ended: Round) -> None:
    """Writes down a round, its weights, and where units are tasks the weight that each task has now."""
    row = ledgers.Round(
        ended.number,
        step,
        ended.unit,
        ended.pool,
        ended.epsilon,
        ended.alpha,
        ended.accuracy,
        ended.hard_share,
    )
    ledger.add_round(phase, split, row, ended.weights, ended.members)
    if ended.unit == "task" and ended.weights is not None and ended.members is not None:
        tasks = ended.members(torch.arange(len(ended.weights)))
        ledger.set_task_weights(phase, tasks, ended.weights)
