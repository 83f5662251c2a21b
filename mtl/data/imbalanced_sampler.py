"""Rare classes as often as common ones, or part of the way there, for the `sampler` of any DataLoader."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import Sampler

from mtl.data.dataset_labels import Labels, labels_of, whole_number
from mtl.data.index_orders import BalancedOrder, Bookmark, Weighting

__all__ = ["ImbalancedSampler", "labels_of"]


class ImbalancedSampler(Sampler[int]):
    """Items drawn with replacement, each by the weight of its class.

        loader = DataLoader(images, batch_size=64, sampler=ImbalancedSampler(images))

    "inverse" makes all classes that have items equally likely, "effective" weighs by the effective number of
    images (Cui et al., CVPR 2019), which evens out less the smaller β is; see BalancedOrder, also for ranks.

    Each pass over the sampler is the next one; `set_epoch(e)` makes the next pass the e-th. A pass depends on
    (labels, arguments, its number) alone.

    Args:
        labels: class of every item of the data set that is indexed, any integers; or that data set, where it
            keeps them (`labels_of`): no item is read.
        weighting, beta: "inverse", or "effective" with its β.
        count: items of a pass, all ranks together; as many as there are labels unless given.
        seed: the same on all ranks; of a generator, its initial seed counts.
        rank, world: which of how many ranks this is.

    Raises:
        TypeError, ValueError: as BalancedOrder does.
    """

    def __init__(
        self,
        labels: Labels,
        weighting: Weighting = "inverse",
        beta: float = 0.9999,
        count: int | None = None,
        seed: int | torch.Generator = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if count is not None:
            count = whole_number("count", count, 0)
        number = seed.initial_seed() if isinstance(seed, torch.Generator) else seed
        self.order = BalancedOrder(labels, weighting, beta, number, count, rank, world)
        self._bookmark = Bookmark(len(self.order))

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        items: list[int] = []
        for number, place in self._bookmark.walk():
            items = items or self.order.items(number).tolist()
            yield items[place]

    def set_epoch(self, epoch: int) -> None:
        """The next pass is pass number `epoch`.

        Right after `load_state_dict`, the epoch of that state goes on where the state stands in it.
        """
        self._bookmark.set_epoch(epoch)

    def state_dict(self, taken: int | None = None) -> dict[str, int]:
        """{"epoch", "taken"}: the pass, and how many of its items were given out.

        The workers of a DataLoader draw ahead of what the training loop has met. `taken` says how many items
        of the pass it did meet, those before an earlier resume included.
        """
        return self._bookmark.state_dict(taken)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next pass is what is left of the pass of this state."""
        self._bookmark.load_state_dict(state)
