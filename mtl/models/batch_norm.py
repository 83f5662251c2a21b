"""Batch norm while meta-training."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


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
