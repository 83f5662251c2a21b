"""Batch norm while meta-training, and among the processes of one training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mtl.errors import UserError
from mtl.runtime.world import World


def norms(network: nn.Module) -> list[_BatchNorm]:
    """Every batch-norm layer of `network`."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm)]


def set_training(network: nn.Module, training: bool, batch_norm: str) -> None:
    """train() or eval() with batch norm as the config says.

    frozen: running statistics, always. update: statistics of the whole meta-batch while training, and the
    running ones follow. episode: statistics of the images that are passed together, also at test time
    (transductive); the running ones stay.
    """
    network.train(training)
    for norm in norms(network):
        norm.train(batch_norm == "episode" or (training and batch_norm == "update"))


@contextmanager
def running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Within it, no forward pass moves the running statistics."""
    layers = norms(network)
    momenta = [n.momentum for n in layers]
    counts = [n.num_batches_tracked.clone() if n.num_batches_tracked is not None else None for n in layers]
    for norm in layers:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(layers, momenta, counts, strict=True):
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)


class _Shared(_BatchNorm):
    """Batch norm whose statistics, while it takes them from a batch, are those of all processes' images.

    PyTorch's SyncBatchNorm runs on GPUs alone. Sums and squares go round in one message, squares about the
    mean of each process, so that nothing cancels out (Chan, Golub and LeVeque, 1979).
    """

    world: World

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.momentum == 0.0:  # of the episode: its images are in one process
            return super().forward(x)
        others, shape = [0, *range(2, x.ndim)], [1, -1] + [1] * (x.ndim - 2)
        number, values = x.numel() // x.shape[1], x.float()
        total = values.sum(others)
        squares = (values - (total / max(number, 1)).view(shape)).square().sum(others)
        rows = torch.zeros(self.world.size, 1 + 2 * len(total), device=x.device)  # one of each process
        rows[self.world.rank] = torch.cat([total.new_tensor([number]), total, squares])
        counts, totals, squares = torch.split(self.world.added(rows), [1, len(total), len(total)], 1)
        mean = totals.sum(0) / counts.sum()
        away = totals / counts.clamp_min(1) - mean
        variance = (squares + counts * away.square()).sum(0) / counts.sum()
        self._follow(mean.detach(), variance.detach(), counts.sum())
        factor = (variance + self.eps).rsqrt()
        factor = factor if self.weight is None else self.weight * factor
        offset = -mean * factor if self.bias is None else self.bias - mean * factor
        return (x * factor.view(shape) + offset.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """The running statistics, as PyTorch moves them: with the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        pace = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, pace)
        self.running_var.lerp_(variance * count / (count - 1), pace)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""


class _Shared1d(_Shared, nn.BatchNorm1d):
    pass


class _Shared2d(_Shared, nn.BatchNorm2d):
    pass


class _SharedWithAct(_Shared2d):
    """timm's batch norm, which has the activation that follows it as a part."""

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))  # type: ignore[no-any-return, operator]


_SHARED = {"BatchNorm1d": _Shared1d, "BatchNorm2d": _Shared2d, "BatchNormAct2d": _SharedWithAct}


def share_statistics(network: nn.Module, world: World) -> nn.Module:
    """Has every batch norm of `network` take its statistics from the images of all processes, in place.

    Raises:
        UserError: the network has a kind of batch norm of its own.
    """
    for norm in norms(network) if world.size > 1 else ():
        if type(norm).__name__ in _SHARED:
            norm.__class__ = _SHARED[type(norm).__name__]
        elif not isinstance(norm, _Shared):
            raise UserError(
                f"backbone.name: has a batch norm of its own ({type(norm).__name__}), and several processes "
                "cannot share its statistics; train it in one process, without torchrun"
            )
        norm.world = world  # type: ignore[assignment]
    return network
