"""What the ledger calls splits and phases, and what follows from it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtl.hard_tasks.ledger import Phase


def split_name(split: str, image_set: str | None) -> str:
    """What the ledger calls a split: with its image set, where it is not the run's own."""
    return split if image_set is None else f"{split} {image_set}"


def even_round(at: "Phase") -> int | None:
    """The round that tells of classes and pairs where no round is asked for; None: all of them together.

    Of an evaluation it is the first: the later ones test again what was answered worst, and would count a
    hard task many times over.
    """
    return 0 if is_evaluation(at.name) else None


def is_evaluation(phase: str) -> bool:
    """Whether a phase only measures: nothing is trained in it."""
    return phase.startswith("evaluate")
