"""The results of one arm of a comparison with one seed, and their file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtl.errors import UserError
from mtl.runtime import checkpoints

_KIND = "cell of a comparison"


@dataclass(frozen=True)
class Answers:
    """The results of T fixed tasks and J tasks drawn as hard, at one setting; everything on the CPU.

    The T tasks are the same for every arm and seed, the J tasks for every arm of a seed.
    """

    classes: Tensor  # (T, N) int64: class ids, all different in a task
    recall: Tensor  # (T, N) float32 in [0, 1]: share of each class's queries classified correctly
    judged: Tensor  # (J,) float32: accuracies on the tasks that the judge drew as hard; J may be 0
    queries: int  # Q: queries a class, so that Q · recall are whole numbers

    def __post_init__(self) -> None:
        if self.classes.ndim != 2 or self.classes.shape != self.recall.shape or self.judged.ndim != 1:
            raise ValueError("classes and recall must be (T, N) both, and judged (J,)")
        if 0 in self.classes.shape or self.queries < 1 or int(self.classes.min()) < 0:
            raise ValueError("at least one task, one class and one query are needed, and no class below 0")
        right = self.right
        near = (right - self.queries * self.recall.double()).abs() < 1e-3  # never for nan
        if not bool((near & (right >= 0) & (right <= self.queries)).all()):
            raise ValueError(f"recall must be a share of {self.queries} queries")

    @property
    def right(self) -> Tensor:
        """(T, N) int64: correct answers out of Q queries."""
        return (self.queries * self.recall.double()).round().long()

    @property
    def accuracy(self) -> Tensor:
        """(T,) float64 in [0, 1]: mean recall of each task; equal counts give equal bits."""
        return self.right.sum(1).double() / (self.classes.shape[1] * self.queries)


@dataclass(frozen=True)
class Cell:
    """One arm trained with one seed: the smallest part of a comparison, and one file."""

    arm: str
    seed: int
    answers: Mapping[str, Answers]  # by the setting's name, such as "5-way 1-shot"
    curve: list[tuple[int, float]]  # (step, validation accuracy in [0, 1]), by step
    seconds_per_step: float | None  # None where no step was timed
    seconds: float  # of the whole training
    images: int  # that the training has seen


def save(path: Path, cell: Cell) -> None:
    """Writes the cell whole or not at all. Right answers are kept as counts: a byte for a class of a task."""
    answers = {
        name: {
            "classes": a.classes.to(torch.int32),
            "right": a.right.to(torch.uint8 if a.queries < 256 else torch.int32),
            "judged": a.judged,
            "queries": a.queries,
        }
        for name, a in cell.answers.items()
    }
    numbers = {"seconds_per_step": cell.seconds_per_step, "seconds": cell.seconds, "images": cell.images}
    payload = {"arm": cell.arm, "seed": cell.seed, "answers": answers, "curve": cell.curve, **numbers}
    checkpoints.write(path, {"format": checkpoints.FORMAT, "kind": _KIND, **payload})


def load(path: Path) -> Cell:
    """A cell as it was saved; recall is count / Q, rounded to float32.

    Raises:
        UserError: there is no such file, it is damaged, or it is something else.
    """
    payload = checkpoints.read(path)
    if payload.get("kind") != _KIND:
        raise UserError(f"{path}: holds no answers of a comparison")
    try:
        return _cell(payload)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        cause = str(error).split("\n", maxsplit=1)[0][:200]
        raise UserError(f"{path}: is damaged, its answers cannot be read ({cause})") from None


def _cell(payload: Mapping[str, Any]) -> Cell:
    answers = {
        str(name): Answers(
            classes=a["classes"].long(),
            recall=(a["right"].double() / a["queries"]).float(),
            judged=a["judged"].float(),
            queries=int(a["queries"]),
        )
        for name, a in payload["answers"].items()
    }
    pace = payload["seconds_per_step"]
    return Cell(
        arm=str(payload["arm"]),
        seed=int(payload["seed"]),
        answers=answers,
        curve=[(int(step), float(value)) for step, value in payload["curve"]],
        seconds_per_step=None if pace is None else float(pace),
        seconds=float(payload["seconds"]),
        images=int(payload["images"]),
    )
