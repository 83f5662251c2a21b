"""Logits with given losses, for tests of losses."""

import torch


def logits_of(losses):
    """Logits (B, 2) whose cross-entropy with label 0 is given."""
    losses = torch.as_tensor(losses, dtype=torch.float64)
    return torch.stack([torch.zeros_like(losses), losses.expm1().log()], -1)


def zeros(count):
    return torch.zeros(count, dtype=torch.int64)
