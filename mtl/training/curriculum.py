"""The record of self-paced pretraining: how much each image weighed in each epoch."""

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
UNMET = -1  # no batch of the epoch held the image


@dataclass(frozen=True)
class Curriculum:
    """P images that pretraining saw, over E epochs."""

    images: Tensor  # (P,) int64: indices into the train split
    labels: Tensor  # (P,) int64: classes that they were trained as
    mislabelled: Tensor  # (P,) bool: labels that `data.label_noise` made wrong
    weights: Tensor  # (E, P) int8: 0 to 100, or UNMET
    class_names: tuple[str, ...]  # (C,)


def percent(weights: Tensor) -> Tensor:
    """(P,) int8 of weights (P,) in [0, 1]: at least 1 where the weight is above 0, UNMET where it is nan."""
    rounded = (100 * weights).round().clamp(0, 100)
    rounded = torch.where(weights > 0, rounded.clamp_min(1), rounded)
    return torch.where(weights.isnan(), UNMET, rounded).to(torch.int8).cpu()


def write(path: Path, header: Mapping[str, Any], run_data: RunData, epochs: Sequence[Tensor]) -> None:
    """Writes the record of a pretraining that has ended; `epochs` are the `percent` (P,) of each."""
    rows = run_data.pretrain_images
    record = {
        "kind": _KIND,
        "images": rows,
        "labels": run_data.splits.train.labels[rows],
        "mislabelled": run_data.mislabelled[rows],
        "weights": torch.stack(list(epochs)),
    }
    checkpoints.write(path, {**header, **record})


def read(path: Path) -> Curriculum:
    """The record of a run; UserError where there is none, or it is damaged."""
    hint = "only pretraining with pretrain.examples.by=self_paced writes one, when it ends"
    payload = checkpoints.read(path, hint)
    if payload.get("kind") != _KIND:
        raise UserError(f"{path}: is not a record of self-paced pretraining")
    images, labels, mislabelled, weights = (
        payload[k] for k in ("images", "labels", "mislabelled", "weights")
    )
    return Curriculum(images, labels, mislabelled, weights, tuple(payload["classes"]))
