"""How probable a classifier takes right answers to be."""

import torch
from torch import Tensor


def negative_log_likelihoods(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """(n,) float64: -ln p of the right class, of logits (n, N) over a temperature."""
    logs = torch.log_softmax(logits.double() / temperature, -1)
    return -logs.gather(1, labels[:, None])[:, 0]
