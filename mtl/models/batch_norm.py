"""Batch norm while meta-training, and among the processes of one training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
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


@torch.no_grad()
def follow(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: Tensor | int) -> None:
    """Moves the running statistics as PyTorch does: with the unbiased variance of `count` values."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    pace = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, pace)
    norm.running_var.lerp_(variance * (count / (count - 1)), pace)


class _Shared(_BatchNorm):
    """Batch norm whose statistics, while it takes them from a batch, are those of all processes' images.

    PyTorch's SyncBatchNorm runs on GPUs alone.
    """

    world: World

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.momentum == 0.0:  # of the episode: its images are in one process
            return super().forward(x)
        normed: Tensor = _NormedTogether.apply(x, self.weight, self.bias, self)
        return normed

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""


class _NormedTogether(torch.autograd.Function):
    """PyTorch's own passes over the images of this process, with sums over all processes in between.

    Variances are put together about the mean of each process, so that nothing cancels out (Chan, Golub and
    LeVeque, 1979). Backwards, with g the gradient of the output, x̂ the normalised input, w the weight and σ
    the deviation, the gradient of the input is w/σ (g − mean g − x̂ · mean g x̂), means over all images (Ioffe
    and Szegedy, ICML 2015): (g − m) w/σ − x · slope, of which the first part is batch norm of g.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, norm: _Shared) -> Tensor:
        mean, variance, count = _statistics(x, norm.world)
        follow(norm, mean, variance, count)
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps, ctx.world = norm.eps, norm.world
        return F.batch_norm(x, mean, variance, weight, bias, eps=norm.eps) if x.numel() else x.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        inverse = (variance + ctx.eps).rsqrt()
        factor = inverse if weight is None else weight * inverse
        own = x.new_zeros(2, len(mean), dtype=mean.dtype)  # sums of g x̂ and g over this process's images
        if x.numel():
            own[0], own[1] = torch.ops.aten.native_batch_norm_backward(
                gradient, x, factor, mean, variance, mean, inverse, False, ctx.eps, [False, True, True]
            )[1:]
        means = own / count
        ctx.world.add_up([means])
        fixed = gradient
        if x.numel():  # one pass over the gradient, and one over the input in place: new memory costs more
            slope = inverse * means[0]
            fixed = F.batch_norm(gradient, means[1] - slope * mean, variance, weight, eps=ctx.eps)
            slope = (factor * slope).to(x.dtype).view([1, -1] + [1] * (x.ndim - 2))
            fixed.addcmul_(x, slope, value=-1)
        return (fixed, None, None, None) if weight is None else (fixed, own[0], own[1], None)


def _statistics(x: Tensor, world: World) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number () of what each channel has in all processes' images."""
    channels, number = x.shape[1], x.numel() // x.shape[1]
    rows = torch.zeros(world.size, 1 + 2 * channels, device=x.device)  # one of each process
    if number:
        kept = rows.new_zeros(channels), rows.new_ones(channels)  # in whose precision it adds
        own = torch.batch_norm_update_stats(x, *kept, 0.0)
        rows[world.rank] = torch.cat([rows.new_full((1,), number), *own])
    world.add_up([rows])
    counts, means, variances = torch.split(rows, [1, channels, channels], 1)
    count = counts.sum()
    shares = counts / count
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0), count


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
