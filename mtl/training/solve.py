"""Solving episodes: many at meta-test without training, or a meta-batch as one step of meta-training."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from mtl.config import Augment
from mtl.data.augment import Normalise, augment
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.episodes.hardness import inverse_fisher_ratio
from mtl.learners.learner import Learner, episode_labels
from mtl.losses import ImageLoss

# Features gathered for a chunk of episodes: 16 MB stay in a processor's cache, a GPU wants larger pieces.
_FLOATS_ON_CPU, _FLOATS_ELSEWHERE = 4_000_000, 64_000_000

Head = Callable[[Tensor, int, int], Tensor]


@dataclass(frozen=True)
class SplitImages:
    """The images of one split, ready for the backbone."""

    images: Tensor  # (M, C, H, W) uint8
    normalise: Normalise
    at_once: int  # images that may pass the backbone together
    table: Tensor | None = None  # (M, D) features of the images, where no training changes the backbone

    def __call__(self, indices: Tensor) -> Tensor:
        """(..., C, H, W) float32, normalised."""
        return self.normalise(self.images[indices.flatten()]).view(*indices.shape, *self.images.shape[1:])


@torch.no_grad()
def extract(features: Callable[[Tensor], Tensor], images: SplitImages, indices: Tensor) -> Tensor:
    """Features (n, D) of the images (n,), on the device that computes them."""
    return torch.cat([features(images(part)) for part in torch.split(indices, images.at_once)])


def with_table(learner: Learner, images: SplitImages, tables: dict[str, Tensor], key: str) -> SplitImages:
    """The images with their features by a frozen backbone, which are computed where `tables` lacks them."""
    if key not in tables:
        learner.eval()
        tables[key] = extract(learner.backbone_features, images, torch.arange(len(images.images)))
    return replace(images, table=tables[key])


@torch.no_grad()
def features_of(learner: Learner, images: SplitImages, indices: Tensor, mirror: bool = False) -> Tensor:
    """Features (n, D) of the images (n,), as `learner.solve_features` takes them."""
    if images.table is not None:
        return learner.transform_features(images.table[indices])
    return extract(lambda x: learner.features(x, mirror), images, indices)


@torch.no_grad()
def solve_episodes(learner: Learner, images: SplitImages, episodes: EpisodeBatch) -> Outcome:
    """The outcome of every episode; each image passes the backbone once where the learner allows it."""
    learner.eval()
    if learner.features_cacheable:
        wanted, place = torch.unique(episodes.image_indices(), return_inverse=True)
        return solve_table(learner.solve_features, features_of(learner, images, wanted), place, episodes)
    count, parts = max(1, images.at_once // episodes.image_indices().shape[1]), []
    for first in range(0, len(episodes), count):
        part = episodes[first : first + count]
        logits = learner.solve(images(part.image_indices()), part.way, part.shot)
        parts.append(Outcome.of(logits, part.way, part.queries))
    return Outcome.concatenate(parts)


def measure(learner: Learner, images: SplitImages, request: EpisodeBatch | Tensor) -> Outcome | Tensor:
    """What a sampler requests: the outcome of episodes, or the features (n, D) of images (n,)."""
    if isinstance(request, EpisodeBatch):
        return solve_episodes(learner, images, request)
    learner.eval()
    return features_of(learner, images, request)


@torch.no_grad()
def solve_table(head: Head, table: Tensor, place: Tensor, episodes: EpisodeBatch) -> Outcome:
    """Outcomes from cached features (n, D); `place` (T, N·(K+Q)) holds the row of each image."""
    way, shot, parts = episodes.way, episodes.shot, []
    for rows in chunks(place, table):
        features = table[rows]
        fisher = inverse_fisher_ratio(features, way, shot)
        parts.append(Outcome.of(head(features, way, shot), way, episodes.queries, fisher))
    return Outcome.concatenate(parts)


def chunks(place: Tensor, table: Tensor) -> tuple[Tensor, ...]:
    """The rows of episodes (T, images) in pieces whose features are gathered together."""
    floats = _FLOATS_ON_CPU if table.device.type == "cpu" else _FLOATS_ELSEWHERE
    return torch.split(place.to(table.device), max(1, floats // (place.shape[1] * table.shape[1])))


def episode_images(
    batch: EpisodeBatch, images: SplitImages, changes: Augment, random: torch.Generator
) -> Tensor:
    """The images of a meta-batch (T, N·K + N·Q, C, H, W), each changed on its own, normalised.

    Where features are cached, which is only without changes, those features (T, N·K + N·Q, D).
    """
    rows = batch.image_indices()
    if images.table is not None:
        return images.table[rows]
    changed = augment(images.images[rows.flatten()], changes, random)
    return images.normalise(changed).view(*rows.shape, *changed.shape[1:])


def meta_step(
    learner: Learner,
    optimizer: Optimizer,
    images: Tensor,
    batch: EpisodeBatch,
    at_once: int,
    task_weights: Callable[[Tensor], Tensor] | None = None,
    query_loss: ImageLoss | None = None,
) -> Outcome:
    """Updates the meta-parameters by the mean loss of all queries; the outcome from before the update.

    Args:
        images: (T, N·K + N·Q, C, H, W) of the meta-batch, normalised; or features (T, N·K + N·Q, D) of the
            frozen backbone.
        batch: the episodes of these images.
        at_once: images that may pass the backbone together. Where several tasks have more, and tasks are
            independent, gradients are added up over parts of the meta-batch: the same sum in less memory.
        task_weights: the weight of each task, from the losses (T,) of all of them; None for equal weights.
            Where the meta-batch is taken in parts, a pass without gradients computes the losses beforehand.
        query_loss: what each query contributes; None for its cross-entropy. Where the meta-batch is taken in
            parts, queries are compared within a part.
    """
    tasks = max(1, at_once // images.shape[1]) if learner.independent_tasks else len(batch)
    parts = torch.split(images, tasks)
    weights = None
    if task_weights is not None and len(parts) > 1:
        with torch.no_grad():
            before = [_losses(_solve(learner, part, batch)[0], batch, query_loss) for part in parts]
            weights = task_weights(torch.cat(before).cpu())
    optimizer.zero_grad(set_to_none=True)
    solved = []
    for i, part in enumerate(parts):
        logits, fisher = _solve(learner, part, batch)
        losses = _losses(logits, batch, query_loss)
        if task_weights is None:
            loss = losses.mean() * (len(part) / len(batch))
        else:
            weights = task_weights(losses.detach().cpu()) if weights is None else weights
            loss = losses @ weights[i * tasks : i * tasks + len(part)].to(losses) / len(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        solved.append((logits.detach(), fisher))
    optimizer.step()
    logits, fisher = (torch.cat(column) for column in zip(*solved, strict=True))
    return Outcome.of(logits, batch.way, batch.queries, fisher)


def _solve(learner: Learner, images: Tensor, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
    """Query logits (T', N·Q, N) of some of the tasks, and the inverse Fisher ratio (T',) of their features.

    The ratio is nan where a learner has no features that all of a task's images share.
    """
    if not learner.features_cacheable:
        logits = learner.solve(images, batch.way, batch.shot)
        return logits, logits.new_full((len(images),), torch.nan)
    if images.ndim == 3:
        features = learner.transform_features(images)
    else:
        features = learner.features(images.flatten(0, 1)).view(*images.shape[:2], -1)
    fisher = inverse_fisher_ratio(features, batch.way, batch.shot)
    return learner.solve_features(features, batch.way, batch.shot), fisher


def _losses(logits: Tensor, batch: EpisodeBatch, query_loss: ImageLoss | None) -> Tensor:
    """The mean loss of each task (T',), from query logits (T', N·Q, N)."""
    labels = episode_labels(len(logits), batch.way, batch.queries, logits.device)
    if query_loss is None:
        return F.cross_entropy(logits.mT, labels, reduction="none").mean(1)
    return query_loss.per_image(logits.flatten(0, 1), labels.flatten()).view(labels.shape).mean(1)
