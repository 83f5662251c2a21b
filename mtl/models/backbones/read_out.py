"""From the maps of a network's blocks to one feature."""

import torch
import torch.nn.functional as F
from torch import Tensor


def read_out(maps: list[Tensor], pool: str, levels: int) -> Tensor:
    """(B, D): the last `levels` of the maps (B, C, H, W), the deepest first.

    `pool` "flatten" keeps the last map as it is and averages the others to its size; "mean" averages all.
    What earlier blocks see is less bound to the base classes, and carries over better (Evci et al.,
    "Head2Toe", ICML 2022).
    """
    last = maps[-1]
    side = last.shape[-1] if pool == "flatten" else 1
    if levels == 1:
        return last.flatten(1) if pool == "flatten" else last.mean((2, 3))
    return torch.cat([F.adaptive_avg_pool2d(x, side).flatten(1) for x in reversed(maps[-levels:])], 1)
