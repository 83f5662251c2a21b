"""The record of self-paced pretraining: which images counted in which epoch, and how much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtl.errors import UserError
from mtl.runtime import checkpoints
from mtl.training.run_data import RunData

_KIND = "curriculum"
UNMET = -1  # an image that no batch of the epoch held


@dataclass(frozen=True)
class Curriculum:
    """P images that pretraining saw, over E epochs."""

    images: Tensor  # (P,) int64: indices into the train split
    labels: Tensor  # (P,) int64: classes that they were trained as
    mislabelled: Tensor  # (P,) bool: labels that `data.label_noise` made wrong
    weights: Tensor  # (E, P) int8: 0 to 100, UNMET where the epoch passed an image over
    class_names: tuple[str, ...]  # (C,)


def percent(weights: Tensor) -> Tensor:
    """(P,) int8 of weights (P,) in [0, 1]; nan becomes UNMET, and what counts at all at least 1."""
    rounded = (100 * weights).round().clamp(0, 100)
    rounded = torch.where(weights > 0, rounded.clamp_min(1), rounded)
    return torch.where(weights.isnan(), UNMET, rounded).to(torch.int8).cpu()


def write(path: Path, header: Mapping[str, Any], run_data: RunData, admitted: Sequence[Tensor]) -> None:
    """Writes the record of an ended pretraining; `admitted` holds `percent` of each epoch, (P,) each."""
    rows = run_data.pretrain_images
    record = {
        "kind": _KIND,
        "images": rows,
        "labels": run_data.splits.train.labels[rows],
        "mislabelled": run_data.mislabelled[rows],
        "weights": torch.stack(list(admitted)),
    }
    checkpoints.write(path, {**header, **record})


def read(path: Path) -> Curriculum:
    """The record of a run.

    Raises:
        UserError: there is none, or it is damaged.
    """
    payload = checkpoints.read(
        path, "only pretraining with pretrain.examples.by=self_paced writes one, when it ends"
    )
    if payload.get("kind") != _KIND:
        raise UserError(f"{path}: is no record of self-paced pretraining")
    return Curriculum(
        payload["images"],
        payload["labels"],
        payload["mislabelled"],
        payload["weights"],
        tuple(payload["classes"]),
    )
