"""Which unlabelled images to label next, so that the classifier gains most.

An image is worth a label if the classifier is unsure of it, by the margin of its two most probable classes
(Settles, "Active Learning Literature Survey", 2009, section 3.1), and if many unlabelled images are like it
and no labelled one is: what facility location gains by it (Wei, Iyer and Bilmes, ICML 2015). The two are
multiplied, as uncertainty and density are in Settles and Craven (EMNLP 2008). Images are taken greedily, so
that what one of them stands for counts no more for the next.

With few labels, uncertainty alone and uncertainty times distance (the farthest-point rule of Sener and
Savarese, ICLR 2018) are worse than random: they pick odd images. `benchmarks/label_next.py` measures it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST = 3_000  # images that are compared with each other; of more, evenly spaced ones


def label_next(probabilities: Tensor, features: Tensor, labelled: Tensor, count: int) -> list[int]:
    """The rows of up to `count` images, the one to label first at the front.

    Args:
        probabilities: (U, N) of unlabelled images; N is at least 2.
        features: (U, D) of the same.
        labelled: (S, D) of the labelled images, of which there may be none.
        count: how many are wanted.
    """
    rows = torch.arange(0, len(features), max(1, -(-len(features) // _MOST)))
    most, second = probabilities[rows].topk(2).values.float().unbind(-1)
    unsure, unit = 1 - (most - second), F.normalize(features[rows], dim=-1)
    alike = (unit @ unit.T).clamp(min=0)  # (U, U)
    covered = torch.cat([unit @ F.normalize(labelled, dim=-1).T, torch.zeros(len(rows), 1)], 1).amax(1)
    chosen: list[int] = []
    for _ in range(min(count, len(rows))):
        gain = (alike - covered[:, None]).clamp(min=0).sum(0)
        worth = unsure * gain
        worth[chosen] = -1
        chosen.append(int(worth.argmax()))
        covered = torch.maximum(covered, alike[chosen[-1]])
    return rows[chosen].tolist()
