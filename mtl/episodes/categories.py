"""Uniform episodes: as batches for any DataLoader, or whole meta-batches at once."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from mtl.data.dataset_labels import Labels, as_labels, whole_number
from mtl.data.index_orders import IndexBatch
from mtl.episodes.class_index import ClassIndex, draw_distinct
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, TaskSampler
from mtl.runtime.seeds import generator

_BLOCK = 64  # episodes drawn at once; another number is another stream


class CategoriesSampler(TaskSampler, Sampler[list[int]]):
    """Episodes 0, 1, 2, ... of a seed: N classes, every set equally likely, and distinct images of each.

    As the `batch_sampler` of any DataLoader it gives `n_batch` episodes a pass, each as a list of image
    indices: image i of class j is at position i·n_cls + j, so that the first n_cls·K positions are the
    support set of K shots. Each pass goes on with new episodes; `set_epoch(e)` makes the next pass the e-th,
    whatever was drawn before. `CategoriesSampler.of` makes one from a ClassIndex; its `draw(tasks)` gives the
    same episodes as an EpisodeBatch, and keeps the groups of a class's images apart.

    Episodes are drawn a block at a time, which takes a few microseconds each. The block follows from the
    number, so that an episode is still a pure function of (seed, number).

    Args:
        labels: class of every image, any integers; or the data set, where it keeps them (`labels_of`).
        n_batch: episodes of one pass.
        n_cls: ways.
        n_per: images a class, shots and queries together; `draw` takes all of them for queries.
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
        index = ClassIndex.of(dense)
        scarce = index.counts < n_per
        if scarce.any():
            c = int(scarce.nonzero()[0])
            have = int(index.counts[c])
            raise ValueError(f"class {int(values[c])} has {have} images, fewer than n_per = {n_per}")
        self._set_up(index, EpisodeShape(n_cls, 0, n_per), seed, n_batch)

    @classmethod
    def of(
        cls,
        index: ClassIndex,
        shape: EpisodeShape,
        seed: int = 0,
        *,
        n_batch: int = 0,
        origin: str = "uniform",
    ) -> "CategoriesSampler":
        """Episodes of a shape from the images of an index.

        Args:
            index: where images are in groups, a class's support images and queries come from different ones.
            shape: N, K, Q.
            seed: of the stream of episodes.
            n_batch: episodes of one pass as a `batch_sampler`; `draw` needs none.
            origin: why these episodes are drawn, in the ledger's words.
        """
        sampler = cls.__new__(cls)
        sampler._set_up(index, shape, seed, n_batch, origin)
        return sampler

    def _set_up(
        self, index: ClassIndex, shape: EpisodeShape, seed: int, n_batch: int, origin: str = "uniform"
    ) -> None:
        super().__init__(shape)
        self.index, self.seed, self.n_batch, self.origin = index, seed, n_batch, origin
        self._block, self._block_number = (torch.empty(0), torch.empty(0)), -1

    def episode(self, number: int) -> tuple[str, Tensor, Tensor]:
        block, place = divmod(number, _BLOCK)
        if block != self._block_number:
            self._block, self._block_number = self._draw_block(block), block
        classes, images = self._block
        return self.origin, classes[place], images[place]

    def _draw_block(self, number: int) -> tuple[Tensor, Tensor]:
        """Classes (64, N) and images (64, N, K+Q)."""
        random, shape = generator(self.seed, "episodes", number), self.shape
        classes = self.index.draw_classes(shape.way, random, tasks=_BLOCK)
        images = self.index.draw_episode(classes, shape.shot, shape.queries, random)
        return classes.view(_BLOCK, shape.way), images.view(_BLOCK, shape.way, shape.per_class)

    def set_epoch(self, epoch: int) -> None:
        """The next pass is pass number `epoch`."""
        self.drawn = epoch * self.n_batch

    def __len__(self) -> int:
        return self.n_batch

    def __iter__(self) -> Iterator[list[int]]:
        first = self.drawn
        self.drawn += self.n_batch
        for number in range(first, first + self.n_batch):
            _, _, images = self.episode(number)
            yield IndexBatch(images.T.flatten().tolist())


def large_groups(groups: Sequence[str], way: int) -> list[Tensor]:
    """The classes of each group that has at least N, groups by name."""
    members = [
        torch.tensor([c for c, group in enumerate(groups) if group == name]) for name in sorted(set(groups))
    ]
    return [m for m in members if len(m) >= way]


def grouped_episodes(
    index: ClassIndex, groups: Sequence[str], shape: EpisodeShape, tasks: int, seed: int
) -> EpisodeBatch:
    """`tasks` episodes, a pure function of the arguments.

    Each has a group, every one with at least N classes equally likely, and N of its classes: one-shot
    classification within an alphabet of Lake et al. (Science 2015), with random characters and drawings.

    Raises:
        ValueError: no group is large enough.
    """
    members = large_groups(groups, shape.way)
    if not members:
        raise ValueError(f"no group has {shape.way} classes")
    random = generator(seed, "grouped")
    group = torch.randint(len(members), (tasks,), generator=random)
    table = torch.nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=-1)
    sizes = torch.tensor([len(m) for m in members])
    classes = table[group[:, None], draw_distinct(sizes[group], shape.way, random)]
    images = index.draw_episode(classes.flatten(), shape.shot, shape.queries, random)
    return EpisodeBatch.of(classes, images.view(tasks, shape.way, -1), shape.shot, "within group")
