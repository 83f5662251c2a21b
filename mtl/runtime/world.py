"""The processes that train one model together, as torchrun starts them.

Every process runs the same code on its share of the work, and what the shares come to is put together again
in the order of the whole: so every process draws, learns and decides the same, and the same as one process
alone would. There is no DistributedDataParallel: it cannot differentiate twice, as the inner loop of a base
learner wants (pytorch issues 47562 and 63812), and one sum of all gradients a step is all that it would do.
"""

import hashlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mtl.errors import RunStopped
from mtl.runtime.process import GRACE

T = TypeVar("T")


class Left(SystemExit):
    """Another process has failed, and says why."""


@dataclass(frozen=True)
class World:
    """How many processes there are, and which one this is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among those of this machine
    patient: Any = None  # the group of processes that waits long; None where there is but one
    store: Any = None  # of torchrun, which outlives them
    begun: bool = False  # torchrun has started this training before, and it had got as far as a checkpoint

    @property
    def first(self) -> bool:
        """True for the one process that writes files and shows progress."""
        return self.rank == 0

    def note_begun(self) -> None:
        """To be called with a checkpoint: a training that torchrun starts again goes on from there."""
        if self.store is not None and self.first:
            self.store.set("begun", "")

    def share(self, count: int, block: int = 1) -> Tensor:
        """(n,) int64: this process's items of `count`, in blocks that are dealt out in turn."""
        items = torch.arange(count)
        return items[items // block % self.size == self.rank]

    def whole(self, own: Tensor, count: int, block: int = 1) -> Tensor:
        """(count, ...): the rows of all processes in their order, from those of this `share` (n, ...).

        Rows that follow those of the share are left out.
        """
        if self.size == 1:
            return own
        items = torch.arange(count) // block % self.size
        most = int(torch.bincount(items, minlength=self.size).max())
        padded = own.new_zeros(most, *own.shape[1:])
        mine = int((items == self.rank).sum())
        padded[:mine] = own[:mine]
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        rows = own.new_empty(count, *own.shape[1:])
        for rank, part in enumerate(parts):
            of_rank = (items == rank).nonzero().flatten().to(own.device)
            rows[of_rank] = part[: len(of_rank)]
        return rows

    def joined(self, own: Tensor, count: int) -> Tensor:
        """As `whole`, differentiable, for a loss that every process computes of the whole.

        The gradient of the rows of this process goes back to them; those of the others are theirs to take.
        """
        return own if self.size == 1 else _Joined.apply(own, self, count)

    def added(self, own: Tensor) -> Tensor:
        """The sum over all processes, differentiable: each gets the sum of all gradients."""
        return own if self.size == 1 else _Added.apply(own)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors of one type by their sums over all processes: one message for all of them."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def agree(self, stop: bool, digest: int) -> bool:
        """True if any process wants to stop. `digest` (63 bits) is of what all have to have alike.

        Raises:
            RunStopped: it differs.
        """
        if self.size == 1:
            return stop
        votes = torch.tensor([int(stop), digest, -digest])
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        stopping, highest, lowest = votes.tolist()
        if highest != -lowest:
            raise RunStopped(
                "the processes of this training no longer draw the same tasks; all machines need the same "
                "kind of processor, versions and images. --resume goes on from the last checkpoint"
            )
        return bool(stopping)

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, for all; where it fails there, the others leave."""
        if self.size == 1:
            return make()
        box: list[Any] = [None, True]  # what was made, and whether making it failed
        try:
            if self.first:
                box = [make(), False]
        finally:
            dist.broadcast_object_list(box, 0, self.patient)
        if box[1]:
            leave()
        made: T = box[0]
        return made

    @contextmanager
    def after_first_here(self) -> Iterator[None]:
        """The first process of each machine does what is within it, then the others, who find it done."""
        if self.size == 1:
            yield
            return
        if self.local_rank:
            self._wait_for_others(False)
            yield
            return
        failed = True
        try:
            yield
            failed = False
        finally:
            self._wait_for_others(failed)

    def _wait_for_others(self, failed: bool) -> None:
        failures = torch.tensor(int(failed))
        dist.all_reduce(failures, group=self.patient)
        if failures and not failed:
            leave()


ALONE = World()


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, world: World, count: int) -> Tensor:
        ctx.share, ctx.shape = world.share(count).to(own.device), own.shape
        return world.whole(own, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        own = gradients[0].new_zeros(ctx.shape)
        own[: len(ctx.share)] = gradients[0][ctx.share]
        return own, None, None


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Added.apply(gradients[0])


def leave() -> None:
    """Ends this process because another one has failed, after time enough for that one's sentence.

    torchrun ends all processes as soon as one has ended.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(GRACE)
    raise Left(2)


@contextmanager
def scratch_folder() -> Iterator[str]:
    """A folder for what processes other than the first write and nobody reads."""
    with tempfile.TemporaryDirectory(prefix="mtl-") as folder:
        yield folder


def digest(*tensors: Tensor) -> int:
    """63 bits of integers, the same for the same ones."""
    total = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        total.update(tensor.numpy().tobytes())
    return int.from_bytes(total.digest(), "little") >> 1
