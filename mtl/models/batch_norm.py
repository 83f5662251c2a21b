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


class _Shared(_BatchNorm):
    """Batch norm whose statistics, while it takes them from a batch, are those of all processes' images.

    PyTorch's SyncBatchNorm runs on GPUs alone.
    """

    world: World

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.momentum == 0.0:  # of the episode: its images are in one process
            return super().forward(x)
        out, mean, variance, count = _NormedTogether.apply(x, self.weight, self.bias, self.eps, self.world)
        self._follow(mean, variance, count)
        normed: Tensor = out
        return normed

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


class _NormedTogether(torch.autograd.Function):
    """PyTorch's own passes over the images of this process, with sums over all processes in between.

    Squares are added up about the mean of each process, so that nothing cancels out (Chan, Golub and LeVeque,
    1979). Backwards, with g the gradient of the output, x̂ the normalised input, w the weight and σ the
    deviation, the gradient of the input is w/σ (g − mean g − x̂ · mean g x̂), means over all images (Ioffe and
    Szegedy, ICML 2015).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, world: World
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        channels, number = x.shape[1], x.numel() // x.shape[1]
        rows = torch.zeros(world.size, 1 + 2 * channels, device=x.device)  # one of each process
        if number:
            one, zero = (
                x.new_ones(channels).float(),
                x.new_zeros(channels).float(),
            )  # in whose precision it adds
            mean, inverse = torch.native_batch_norm(x, one, zero, None, None, True, 0.0, eps)[1:]
            squares = number * (inverse.float() ** -2 - eps).clamp_min(0)
            rows[world.rank] = torch.cat([mean.new_tensor([number]), number * mean, squares]).float()
        world.add_up([rows])
        counts, totals, squares = torch.split(rows, [1, channels, channels], 1)
        count = counts.sum()
        mean = totals.sum(0) / count
        away = totals / counts.clamp_min(1) - mean
        variance = (squares + counts * away.square()).sum(0) / count
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps, ctx.world = eps, world
        ctx.mark_non_differentiable(mean, variance, count)
        out = F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps) if number else x.clone()
        return out, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        inverse = (variance + ctx.eps).rsqrt()
        if x.numel():
            ones = torch.ones_like(mean) if weight is None else weight
            fixed, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
                gradient,
                x, ones, mean, variance, mean, inverse, False, ctx.eps, [True, True, True],
            )  # fmt: skip
        else:
            fixed, by_weight, by_bias = torch.zeros_like(x), torch.zeros_like(mean), torch.zeros_like(mean)
        own = by_weight.clone(), by_bias.clone()
        sums = torch.stack([by_bias, by_weight]).float()
        ctx.world.add_up([sums])
        factor = inverse if weight is None else weight * inverse
        slope = factor * inverse * sums[1] / count
        offset = factor * sums[0] / count - slope * mean
        shape = [1, -1] + [1] * (x.ndim - 2)
        fixed = fixed - (x * slope.to(x.dtype).view(shape) + offset.to(x.dtype).view(shape))
        if weight is None:
            return fixed, None, None, None, None
        return fixed, own[0], own[1], None, None


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
