"""One step of meta-training: the images of a meta-batch, one update, and how its tasks went."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from mtl.config import Augment
from mtl.data.augment import augment
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.errors import RunStopped
from mtl.learners.types import Learner, episode_labels
from mtl.losses import ImageLoss
from mtl.training.inference import SplitImages


def episode_images(
    batch: EpisodeBatch, pictures: SplitImages, changes: Augment, random: torch.Generator
) -> Tensor:
    """(T, N·K + N·Q, C, H, W): the images of a meta-batch, each changed on its own, normalised.

    Where the backbone is fixed and nothing is changed, their features (T, N·K + N·Q, D).
    """
    rows = batch.image_indices()
    if pictures.table is not None:
        return pictures.table[rows]
    changed = augment(pictures.images[rows.flatten()], changes, random)
    return pictures.normalise(changed).view(*rows.shape, *changed.shape[1:])


def meta_step(
    learner: Learner,
    optimizer: Optimizer,
    images: Tensor,
    batch: EpisodeBatch,
    at_once: int,
    weigh: Callable[[Tensor], Tensor] | None = None,
    queries: ImageLoss | None = None,
) -> Outcome:
    """One update of the meta-parameters by the mean cross-entropy of all queries; how the tasks went.

    Args:
        images: (T, N·K + N·Q, C, H, W) of the meta-batch, normalised; or features (T, N·K + N·Q, D) of the
            fixed backbone.
        at_once: images that may pass the backbone together. Where more than one task is too many, and tasks
            are apart, gradients are added up over parts of the meta-batch: the same sum in less memory.
        weigh: how much each task counts, from the losses (T,) of all of them; None for alike. Where the
            meta-batch goes in parts, the losses are found out beforehand, by a pass without gradients.
        queries: what each query contributes; None for its cross-entropy. Where the meta-batch goes in parts,
            queries are told apart within a part.
    """
    tasks = max(1, at_once // images.shape[1]) if learner.independent_tasks else len(batch)
    parts = torch.split(images, tasks)
    weights = None
    if weigh is not None and len(parts) > 1:
        with torch.no_grad():
            weights = weigh(torch.cat([_losses(learner, part, batch, queries)[1] for part in parts]).cpu())
    optimizer.zero_grad(set_to_none=True)
    answers = []
    for i, part in enumerate(parts):
        logits, losses = _losses(learner, part, batch, queries)
        if weigh is None:
            loss = losses.mean() * (len(part) / len(batch))
        else:
            weights = weigh(losses.detach().cpu()) if weights is None else weights
            loss = losses @ weights[i * tasks : i * tasks + len(part)].to(losses) / len(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        answers.append(logits.detach())
    optimizer.step()
    return Outcome.of(torch.cat(answers), batch.way, batch.queries)


def _losses(
    learner: Learner, images: Tensor, batch: EpisodeBatch, queries: ImageLoss | None
) -> tuple[Tensor, Tensor]:
    """Query logits (T', N·Q, N) of some of the tasks, and the mean loss of each (T',)."""
    if images.ndim == 3:
        logits = learner.solve_features(learner.transform_features(images), batch.way, batch.shot)
    else:
        logits = learner.solve(images, batch.way, batch.shot)
    labels = episode_labels(len(images), batch.way, batch.queries, logits.device)
    if queries is None:
        return logits, F.cross_entropy(logits.mT, labels, reduction="none").mean(1)
    losses = queries.per_image(logits.flatten(0, 1), labels.flatten())
    return logits, losses.view(labels.shape).mean(1)


def warm_up_cosine(step: int, steps: int, warm_up: float) -> float:
    """Factor of the rate at `step` of `steps`: climbs over the share `warm_up`, then half a cosine to 0."""
    climb = warm_up * steps
    if step < climb:
        return (step + 1) / (climb + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - climb) / max(1.0, steps - climb)))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """The rate of the step that follows."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def require_finite(loss: float, stage: str, step: int, key: str, rate: float) -> None:
    """Raises RunStopped where the loss is not finite; to be asked before the step is saved."""
    if not math.isfinite(loss):
        raise RunStopped(
            f"{stage}: the loss is {loss} at step {step}; the likely cause is too high a learning rate "
            f"({key} gave {rate:.3g} here). The last checkpoint is from before it"
        )
