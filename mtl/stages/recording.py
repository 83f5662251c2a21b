"""Writing into the ledger what samplers and image sets know in their own terms."""

import torch

from mtl.data import ImageSet
from mtl.episodes.types import Round
from mtl.hard_tasks import ledger as ledgers


def register_classes(ledger: ledgers.Ledger, split: str, images: ImageSet) -> None:
    """Says what the class ids of a split are called."""
    groups = None if images.groups is None else dict(enumerate(images.groups))
    ledger.register_classes(split, dict(enumerate(images.class_names)), groups)


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
