"""Uniform episodes: one at a time for any DataLoader, or whole meta-batches at once."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from mtl.data.dataset_labels import Labels, as_labels, whole_number
from mtl.data.index_orders import IndexBatch
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, Outcome, Round
from mtl.runtime.seeds import generator

_BLOCK = 64  # episodes drawn at once; another number is another stream


class EpisodeStream:
    """Episode 0, 1, 2, ... of a seed: N classes, every set equally likely, and distinct images of each.

    They are drawn a block at a time, which takes a few microseconds an episode. Which block an episode lies
    in follows from its number, so that it is still a pure function of (seed, number).

    Args:
        index: the images to draw from.
        way: N.
        per_class: images of a class, shots and queries together.
        seed: of the stream.
        shot: K of them, the first, are the support set; where images are in groups, the others come from
            other groups. 0: groups play no part.
    """

    def __init__(self, index: ClassIndex, way: int, per_class: int, seed: int, shot: int = 0) -> None:
        self.index, self.way, self.per_class, self.seed, self.shot = index, way, per_class, seed, shot
        self._block, self._at = (torch.empty(0), torch.empty(0)), -1

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Classes (N,) and images (N, per_class) of episode `number`."""
        at, place = divmod(number, _BLOCK)
        if at != self._at:
            self._block, self._at = self._draw(generator(self.seed, "episodes", at)), at
        classes, images = self._block
        return classes[place], images[place]

    def _draw(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        classes = self.index.draw_classes(self.way, random, tasks=_BLOCK)
        if self.shot:
            images = self.index.draw_episode(classes, self.shot, self.per_class - self.shot, random)
        else:
            images = self.index.draw_images(classes, self.per_class, random)
        return classes.view(_BLOCK, self.way), images.view(_BLOCK, self.way, self.per_class)


class CategoriesSampler(Sampler[list[int]]):
    """Episodes as batches of image indices, for the `batch_sampler` of any DataLoader.

    A batch holds `n_cls` classes with `n_per` distinct images each; image i of class j stands at position
    i·n_cls + j, so that the first n_cls·K positions are the support set of K shots.

    Each pass over the sampler goes on with new episodes, n_batch of them; `set_epoch(e)` makes the next pass
    the e-th, whatever was drawn before. An episode depends on (seed, its number in the stream) alone.

    Args:
        labels: class of every image, any integers; or the data set, where it keeps them (`labels_of`).
        n_batch: episodes of one pass.
        n_cls: ways.
        n_per: images a class, shots and queries together.
        seed: of the stream of episodes.
        label: another name for `labels`.

    Raises:
        TypeError: an argument is missing, or the labels are neither a row nor a data set.
        ValueError: labels that are not integers, numbers below 1 (n_batch: 0), fewer classes than n_cls, or a
            class with fewer images than n_per.
    """

    def __init__(
        self,
        labels: Labels | None = None,
        n_batch: int | None = None,
        n_cls: int | None = None,
        n_per: int | None = None,
        seed: int = 0,
        *,
        label: Labels | None = None,
    ) -> None:
        given = label if labels is None else labels
        if given is None or n_batch is None or n_cls is None or n_per is None:
            raise TypeError("CategoriesSampler needs labels, n_batch, n_cls and n_per")
        if labels is not None and label is not None:
            raise TypeError("CategoriesSampler: label is another name for labels; give one of the two")
        n_batch = whole_number("n_batch", n_batch, 0)
        n_cls, n_per = whole_number("n_cls", n_cls, 1), whole_number("n_per", n_per, 1)
        values, dense = torch.unique(as_labels(given, least=0), return_inverse=True)
        if n_cls > len(values):
            raise ValueError(f"n_cls = {n_cls} classes an episode, but the labels hold {len(values)}")
        self.index = ClassIndex.of(dense)
        scarce = self.index.counts < n_per
        if scarce.any():
            c = int(scarce.nonzero()[0])
            have = int(self.index.counts[c])
            raise ValueError(f"class {int(values[c])} has {have} images, fewer than n_per = {n_per}")
        self.n_batch, self.n_cls, self.n_per, self.seed = n_batch, n_cls, n_per, seed
        self.stream = EpisodeStream(self.index, n_cls, n_per, seed)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The next pass is pass number `epoch`."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_batch

    def __iter__(self) -> Iterator[list[int]]:
        first = self.epoch * self.n_batch
        self.epoch += 1
        for i in range(first, first + self.n_batch):
            _, images = self.stream[i]
            yield IndexBatch(images.T.flatten().tolist())


class UniformSampler:
    """Whole meta-batches of uniform episodes: the batched sibling of CategoriesSampler, same episodes.

    Args:
        index: the images to draw from.
        way, shot, queries: N, K, Q.
        seed: of the stream of episodes.
        origin: the word that the ledger keeps for these episodes.
    """

    has_task_weights = False

    def __init__(
        self, index: ClassIndex, way: int, shot: int, queries: int, seed: int, origin: str = "uniform"
    ) -> None:
        self.index, self.way, self.shot, self.queries, self.seed = index, way, shot, queries, seed
        self.origin = origin
        self.stream = EpisodeStream(index, way, shot + queries, seed, shot)
        self.drawn = 0

    def draw(self, tasks: int) -> EpisodeBatch:
        """The next `tasks` episodes of the stream."""
        numbers = range(self.drawn, self.drawn + tasks)
        self.drawn += tasks
        origin, classes, images = zip(*(self.episode(i) for i in numbers), strict=True)
        return episode_batch(torch.stack(classes), torch.stack(images), self.shot, origin, tuple(numbers))

    def episode(self, number: int) -> tuple[str, Tensor, Tensor]:
        """Episode `number`: why it was drawn, its classes (N,) and its images (N, K+Q)."""
        return self.origin, *self.stream[number]

    def pool(self, step: int) -> EpisodeBatch | None:
        """Uniform draws need no meta-test."""
        return None

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> Round | None:
        """Uniform draws learn nothing."""
        return None

    def survey(self, step: int) -> Tensor | None:
        """Uniform draws look at no image."""
        return None

    def take_survey(self, features: Tensor) -> None:
        """Uniform draws look at no image."""

    def task_weights(self, losses: Tensor) -> Tensor:
        """(T,): every task of a meta-batch counts alike."""
        return torch.ones_like(losses)

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.drawn = int(state["drawn"])


def episode_batch(
    classes: Tensor, images: Tensor, shot: int, origin: tuple[str, ...], numbers: tuple[int, ...]
) -> EpisodeBatch:
    """Images (T, N, K+Q) as an EpisodeBatch: the first K of a class are its support set."""
    return EpisodeBatch(classes, images[..., :shot], images[..., shot:], origin, numbers)
