"""Solving episodes: many at meta-test without training, or a meta-batch as one step of meta-training."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from mtl.config import Augment, Log
from mtl.data.augment import Normalise, augment
from mtl.data.variants import PLAIN, Variants
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.episodes.hardness import inverse_fisher_ratio
from mtl.learners.learner import Learner, episode_labels
from mtl.losses import ImageLoss
from mtl.runtime.progress import Count
from mtl.runtime.world import ALONE, World

# Features gathered for a chunk of episodes: 16 MB stay in a processor's cache, a GPU wants larger pieces.
_FLOATS_ON_CPU, _FLOATS_ELSEWHERE = 4_000_000, 64_000_000

_QUIET = Log(quiet=True)

Head = Callable[[Tensor, int, int], Tensor]


@dataclass(frozen=True)
class SplitImages:
    """The images of one split, ready for the backbone."""

    images: Tensor  # (M, C, H, W) uint8
    normalise: Normalise
    at_once: int  # images that may pass the backbone together
    table: Tensor | None = None  # (M, D) features of the images, where no training changes the backbone
    world: World = ALONE  # the processes that compute features and solve episodes together
    log: Log = _QUIET  # how the progress of computing features is shown

    @property
    def batch(self) -> int:
        """Images that pass it together where processes share them out; fewer, so that each has some."""
        return max(1, self.at_once // 4)

    def __call__(self, indices: Tensor) -> Tensor:
        """(..., C, H, W) float32, normalised."""
        return self.normalise(self.images[indices.flatten()]).view(*indices.shape, *self.images.shape[1:])


@torch.no_grad()
def extract(features: Callable[[Tensor], Tensor], images: SplitImages, indices: Tensor) -> Tensor:
    """Features (n, D) of the images (n,), on the device that computes them."""
    own = len(images.world.share(len(indices), images.batch))
    with Count("features of images", own, images.log) as count:

        def counted(part: Tensor) -> Tensor:
            found = features(images(part))
            count.add(len(part))
            return found

        return shared_out(counted, indices, images.batch, images.world)


def shared_out(compute: Callable[[Tensor], Tensor], rows: Tensor, block: int, world: World) -> Tensor:
    """What `compute` makes of rows (n, ...): a row for each, on all processes.

    Each process computes whole blocks, the same ones however many processes there are.
    """
    own = world.share(len(rows), block)
    parts = torch.split(rows[own] if len(own) else rows[:1], block)  # one for the shape of its results
    return world.whole(torch.cat([compute(part) for part in parts])[: len(own)], len(rows), block)


def with_table(learner: Learner, images: SplitImages, tables: dict[str, Tensor], key: str) -> SplitImages:
    """The images with their features by a frozen backbone, which are computed where `tables` lacks them."""
    if key not in tables:
        learner.eval()
        tables[key] = extract(learner.backbone_features, images, torch.arange(len(images.images)))
    return replace(images, table=tables[key])


@torch.no_grad()
def features_of(learner: Learner, images: SplitImages, indices: Tensor, variants: Variants = PLAIN) -> Tensor:
    """Features (n, D) of the images (n,), as `learner.solve_features` takes them."""
    if images.table is not None:
        return learner.transform_features(images.table[indices])
    return extract(lambda x: learner.features(x, variants), images, indices)


@torch.no_grad()
def solve_episodes(learner: Learner, images: SplitImages, episodes: EpisodeBatch) -> Outcome:
    """The outcome of every episode; each image passes the backbone once where the learner allows it."""
    learner.eval()
    if learner.features_cacheable:
        wanted, place = torch.unique(episodes.image_indices(), return_inverse=True)
        table = features_of(learner, images, wanted)
        return solve_table(learner.solve_features, table, place, episodes, images.world)
    rows, way, parts = episodes.image_indices(), episodes.way, []
    count = max(1, images.at_once // rows.shape[1])
    own = images.world.share(len(rows), count)
    for part in torch.split(rows[own] if len(own) else rows[:1], count):
        logits = learner.solve(images(part), way, episodes.shot)
        parts.append(Outcome.of(logits, way, episodes.queries))
    return _of_all(Outcome.concatenate(parts), own, len(rows), count, images.world)


def measure(learner: Learner, images: SplitImages, request: EpisodeBatch | Tensor) -> Outcome | Tensor:
    """What a sampler requests: the outcome of episodes, or the features (n, D) of images (n,)."""
    if isinstance(request, EpisodeBatch):
        return solve_episodes(learner, images, request)
    learner.eval()
    return features_of(learner, images, request)


@torch.no_grad()
def solve_table(
    head: Head, table: Tensor, place: Tensor, episodes: EpisodeBatch, world: World = ALONE
) -> Outcome:
    """Outcomes from cached features (n, D); `place` (T, N·(K+Q)) holds the row of each image."""
    way, shot, parts = episodes.way, episodes.shot, []
    chunk = _chunk(place, table, world)
    own = world.share(len(place), chunk)
    for rows in torch.split((place[own] if len(own) else place[:1]).to(table.device), chunk):
        features = table[rows]
        fisher = inverse_fisher_ratio(features, way, shot)
        parts.append(Outcome.of(head(features, way, shot), way, episodes.queries, fisher))
    return _of_all(Outcome.concatenate(parts), own, len(place), chunk, world)


def _chunk(place: Tensor, table: Tensor, world: World = ALONE) -> int:
    """Episodes; of several processes the same in all, wherever each has its table."""
    floats = _FLOATS_ON_CPU if table.device.type == "cpu" or world.size > 1 else _FLOATS_ELSEWHERE
    return max(1, floats // (place.shape[1] * table.shape[1]))


def _of_all(outcome: Outcome, own: Tensor, count: int, block: int, world: World) -> Outcome:
    """The outcomes of `count` episodes, from those of this process's share."""
    if world.size == 1:
        return outcome
    known = {name: part for name, part in vars(outcome).items() if part is not None}
    flat = torch.cat(
        [part[: len(own)].view(len(own), math.prod(part.shape[1:])).float() for part in known.values()], 1
    )
    shapes = [(count, *part.shape[1:]) for part in known.values()]
    columns = torch.split(world.whole(flat, count, block), [math.prod(shape[1:]) for shape in shapes], 1)
    pairs = zip(known.items(), columns, shapes, strict=True)
    return Outcome(**{name: column.reshape(shape).to(part.dtype) for (name, part), column, shape in pairs})


def episode_images(
    batch: EpisodeBatch, images: SplitImages, changes: Augment, random: torch.Generator
) -> Tensor:
    """The images of a meta-batch (T, N·K + N·Q, C, H, W), each changed on its own, normalised.

    Where features are cached, which is only without changes, those features (T, N·K + N·Q, D). Of several
    processes each has its share of the tasks, or the first one where it has none.
    """
    rows = batch.image_indices()
    own = tasks_here(images.world, len(rows))
    if images.table is not None:
        return images.table[rows[own]]
    among = None if images.world.size == 1 else torch.arange(rows.numel()).view_as(rows)[own].flatten()
    changed = augment(images.images[rows[own].flatten()], changes, random, among, rows.numel())
    return images.normalise(changed).view(len(own), rows.shape[1], *changed.shape[1:])


def tasks_here(world: World, tasks: int) -> Tensor:
    """(n,) int64: the tasks of a meta-batch that a process has the images of, at least one."""
    own = world.share(tasks)
    return own if len(own) else torch.zeros(1, dtype=torch.int64)


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

    Of several processes each solves its share of the tasks. Answers are put together before the loss, so that
    it is of the whole meta-batch in every process; gradients are added up once. With
    `runtime.ordered_sum` one task is solved after another, and gradients are added in the order of the tasks:
    the same bits with any number of processes.

    Args:
        images: (T, N·K + N·Q, C, H, W) of the meta-batch, normalised; or features (T, N·K + N·Q, D) of the
            frozen backbone. Of several processes those of its share, as `episode_images` has them.
        batch: all episodes.
        at_once: images that may pass the backbone together. Where several tasks have more, and tasks are
            independent, gradients are added up over parts of the meta-batch: the same sum in less memory.
        task_weights: the weight of each task, from the losses (T,) of all of them; None for equal weights.
            Where the meta-batch is taken in parts, a pass without gradients computes the losses beforehand.
        query_loss: what each query contributes; None for its cross-entropy. Where the meta-batch is taken in
            parts, queries are compared within a part.
    """
    world, ordered = learner.device.world, learner.device.ordered_sum
    each = 1 if ordered else max(1, at_once // images.shape[1]) if learner.independent_tasks else len(batch)
    parts = [
        (images[first : first + each], len(batch[first * world.size : (first + each) * world.size]))
        for first in range(0, -(-len(batch) // world.size), each)
    ]
    # A process without a task solves one that does not count; of others' statistics its images are no part.
    spare = images[:1] if learner.independent_tasks else images[:0]
    parts = [(part if len(world.share(tasks)) else spare, tasks) for part, tasks in parts]

    def losses_of(logits: Tensor) -> Tensor:
        """(T',): of as many tasks at once as one process solves at once, however many there are."""
        return torch.cat([_losses(some, batch, query_loss) for some in torch.split(logits, each)])

    weights = None
    if task_weights is not None and len(parts) > 1:
        with torch.no_grad():
            before = [
                losses_of(world.joined(_solve(learner, part, batch)[0], tasks)) for part, tasks in parts
            ]
            weights = task_weights(torch.cat(before).cpu())
        if learner.noise is not None:
            learner.noise.rewind()
    optimizer.zero_grad(set_to_none=True)
    solved, gradients, first = [], [], 0
    for part, tasks in parts:
        own, fisher = _solve(learner, part, batch)
        logits = world.joined(own, tasks)
        losses = losses_of(logits)
        if task_weights is None:
            loss = losses.sum() / len(batch)
        else:
            weights = task_weights(losses.detach().cpu()) if weights is None else weights
            loss = losses @ weights[first : first + tasks].to(losses) / len(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if ordered:
            gradients.append(_take_gradients(learner)[: len(world.share(tasks))])
        solved.append((logits.detach(), world.joined(fisher, tasks)))
        first += tasks
    if ordered:
        _set_gradients(learner, world.whole(torch.cat(gradients), len(batch)).sum(0))
    elif world.size > 1:
        world.add_up([p.grad for p in learner.meta_parameters() if p.grad is not None])
    optimizer.step()
    logits, fisher = (torch.cat(column) for column in zip(*solved, strict=True))
    return Outcome.of(logits, batch.way, batch.queries, fisher)


def _take_gradients(learner: Learner) -> Tensor:
    """(1, P): the gradients of all meta-parameters, which are cleared."""
    found = []
    for parameter in learner.meta_parameters():
        found.append(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        parameter.grad = None
    return torch.cat([gradient.flatten() for gradient in found])[None]


def _set_gradients(learner: Learner, flat: Tensor) -> None:
    parameters = learner.meta_parameters()
    for parameter, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))


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
        features = learner.features(images.flatten(0, 1))
        features = features.view(*images.shape[:2], features.shape[-1])
    fisher = inverse_fisher_ratio(features, batch.way, batch.shot)
    return learner.solve_features(features, batch.way, batch.shot), fisher


def _losses(logits: Tensor, batch: EpisodeBatch, query_loss: ImageLoss | None) -> Tensor:
    """The mean loss of each task (T',), from query logits (T', N·Q, N)."""
    labels = episode_labels(len(logits), batch.way, batch.queries, logits.device)
    if query_loss is None:
        return F.cross_entropy(logits.mT, labels, reduction="none").mean(1)
    return query_loss.per_image(logits.flatten(0, 1), labels.flatten()).view(labels.shape).mean(1)
