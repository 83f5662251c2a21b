"""The images of a data set that a model classifies worst: mined once per round of training, not per batch."""

from collections.abc import Callable, Iterator, Sized
from copy import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler

from mtl.losses.hard_examples import ranked

_BATCH = 256  # images at once, where a data set is given without a loader
PerImage = Callable[[Tensor, Tensor], Tensor]  # losses (B,) of logits (B, C) and labels (B,)


def hard_example_miner(
    model: nn.Module,
    loader: DataLoader[Any] | Dataset[Any],
    top_k: int,
    loss: PerImage | None = None,
) -> Tensor:
    """(top_k,) int64: indices into `loader.dataset` of the images with the largest losses, the hardest first.

    Every image that the loader can give is classified once, in its batches and by its collate function, in
    any order: the loader's sampler says which images a batch holds. So the loader may shuffle, and with a
    SubsetRandomSampler only its part of the set is mined. What `drop_last` would leave out is classified too;
    an image that is drawn several times counts by its largest loss. Of equal losses the lower index comes
    first; nan counts as the largest.

    The model runs in evaluation mode, on the device of its parameters, and is left as it was; so are samplers
    that have a state, and the global random numbers.

    Args:
        model: logits (B, C) from images (B, ...).
        loader: gives (images, labels, ...); or the data set itself.
        top_k: how many.
        loss: losses (B,) from logits and labels; plain cross-entropy unless given.

    Raises:
        TypeError: the indices of the images cannot be known (IterableDataset, batch_size=None), or a batch is
            not (images, labels, ...).
        ValueError: top_k is below 1, or more than there are images; the loss gives no value for each image.
    """
    batches, generator = _recorded(loader)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in model.modules()]
    state = None if generator is None else generator.get_state()
    losses = []
    try:
        model.eval()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for batch in batches:
                if not isinstance(batch, tuple | list) or len(batch) < 2:
                    raise TypeError(f"the loader must give (images, labels), not {type(batch).__name__}")
                logits, labels = model(batch[0].to(device)), torch.as_tensor(batch[1]).to(device)
                per_image = (loss or _cross_entropy)(logits, labels)
                if per_image.shape != logits.shape[:1]:
                    raise ValueError(f"loss must give a value for each image, not {tuple(per_image.shape)}")
                losses.append(ranked(per_image).cpu())
    finally:
        for module, training in modes:
            module.training = training
        if generator is not None and state is not None:
            generator.set_state(state)
    images, place = torch.unique(torch.tensor(batches.batch_sampler.given), return_inverse=True)
    if not 1 <= top_k <= len(images):
        raise ValueError(
            f"top_k = {top_k} must be at least 1 and at most {len(images)}, the number of images"
        )
    drawn = torch.cat(losses)
    worst = torch.full((len(images),), -torch.inf, dtype=drawn.dtype).scatter_reduce(0, place, drawn, "amax")
    hardest: Tensor = images[worst.argsort(descending=True, stable=True)[:top_k]]
    return hardest


class _Recorded(Sampler[list[int]]):
    """The batches of another sampler; keeps their indices in `given`, restores the state of `stateful`."""

    def __init__(self, batches: Any, stateful: Any) -> None:
        self.batches, self.stateful, self.given = batches, stateful, list[int]()

    def __iter__(self) -> Iterator[list[int]]:
        self.given = []
        state = self.stateful.state_dict() if hasattr(self.stateful, "state_dict") else None
        try:
            for batch in self.batches:
                self.given += batch
                yield batch
        finally:
            if state is not None:
                self.stateful.load_state_dict(state)


def _recorded(loader: DataLoader[Any] | Dataset[Any]) -> tuple[Any, torch.Generator | None]:
    """A loader of the same batches that keeps their indices, and the generator of the given loader."""
    dataset = loader if isinstance(loader, Dataset) else loader.dataset
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        raise TypeError(f"{type(dataset).__name__} has no indices: its items come one after the other")
    if isinstance(loader, Dataset):
        loader = DataLoader(loader, batch_size=_BATCH)
    batches: Any = loader.batch_sampler
    stateful = batches
    if batches is None:
        raise TypeError("a loader with batch_size=None does not say which images a batch holds")
    if type(batches) is BatchSampler:
        stateful = batches.sampler
        batches = BatchSampler(copy(stateful), batches.batch_size, drop_last=False)
    again: DataLoader[Any] = DataLoader(
        loader.dataset,
        batch_sampler=_Recorded(copy(batches), stateful),  # a copy: some count their passes
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator(),
    )
    return again, loader.generator


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), labels, reduction="none")
