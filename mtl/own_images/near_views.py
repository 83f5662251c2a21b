"""Which support images are near copies of one another, and so one view of their class."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.data.near_copies import EXPLAINED, RESEMBLING, near_copies
from mtl.own_images.support import Support

#: Images of a class have nearly the same feature where these differ by less than this share of what those of
#: two classes usually differ by. On novel classes of glyphs and Omniglot, 20 images each, the nearest other
#: image of the class was nearer for one in a hundred; so it takes pixels that resemble each other as well.
NEAR = 0.2

_MOST = 2_000  # images that the usual distance between classes is taken of


def find_views(support: Support) -> Support:
    """The support set with its views: images of a class that are linked by near copies are one.

    Near copies have the same pixels, up to small movements, or resembling ones and nearly the same feature.
    Of images whose pixels are not known, as in classifiers of earlier versions, nothing can be said: classes
    that lie far apart have nearly the same feature in all their images. Each of them is a view.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = _pairs(support)
    if not pairs:
        return support.with_views(torch.arange(len(support)))
    one, other = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs)), (one, other)), shape=(len(support), len(support)))
    return support.with_views(torch.from_numpy(connected_components(graph, directed=False)[1]))


def _pairs(support: Support) -> list[tuple[int, int]]:
    unit = F.normalize(support.features.double(), dim=-1)
    near = NEAR * _between(unit, support.labels)
    found = near_copies(support.prints.thumbnails, support.labels, RESEMBLING)
    return [(i, j) for i, j, r in found if r >= EXPLAINED or float((unit[i] - unit[j]).norm()) <= near]


def _between(unit: Tensor, labels: Tensor) -> float:
    """The median distance between images of two classes; 0 where there is one class."""
    some = torch.arange(0, len(unit), max(1, -(-len(unit) // _MOST)))
    distances = torch.cdist(unit[some], unit[some])[labels[some, None] != labels[some]]
    return float(distances.median()) if len(distances) else 0.0
