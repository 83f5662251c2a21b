"""The support set of a person's own classes, as features, and its views: near copies count once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.data.near_copies import EXPLAINED, RESEMBLING, Compared, Prints, near_copies

_SAME = 1e-3  # features of one picture, embedded twice, differ by less, as a share of their length

# Images of a class have nearly the same feature where these differ by less than this share of what those of
# two classes usually differ by. On novel classes of glyphs and Omniglot, 20 images each, the nearest other
# image of the class was nearer for one in a hundred; so it takes pixels that resemble each other as well.
NEAR = 0.2

_MOST = 2_000  # images that the usual distance between classes is taken of


@dataclass(frozen=True, eq=False)
class Support:
    """S support images of N classes, embedded; classes may have different numbers of images.

    Near copies, such as the frames of a burst, are one view. They say as much as one image: left out alone,
    such an image would be recognised by its copies.

    Raises:
        ValueError: the parts do not fit each other.
    """

    features: Tensor  # (S, D)
    labels: Tensor  # (S,) int64, an index into `classes`
    classes: tuple[str, ...]  # (N,) sorted
    files: tuple[str, ...]  # (S,) where each image came from
    prints: Prints  # (S,) what each image is recognised by
    views: Tensor  # (S,) int64 in 0..V-1, ascending by first image: near copies are one view of a class

    def __post_init__(self) -> None:
        count = len(self.features)
        if self.features.ndim != 2 or self.labels.shape != (count,) or len(self.files) != count:
            raise ValueError("features (S, D), labels (S,) and S files are needed")
        if list(self.classes) != sorted(set(self.classes)):
            raise ValueError("classes must be sorted and distinct")
        if self.labels.dtype != torch.int64 or sorted(set(self.labels.tolist())) != list(range(self.way)):
            raise ValueError("labels must be int64 indices into classes, and every class must have an image")
        if len(self.prints) != count or self.views.shape != (count,) or self.views.dtype != torch.int64:
            raise ValueError("prints (S,) and int64 views (S,) are needed")
        if list(dict.fromkeys(self.views.tolist())) != list(range(self.view_count)):
            raise ValueError("views must be numbered by their first images")
        if len({*zip(self.views.tolist(), self.labels.tolist(), strict=True)}) != self.view_count:
            raise ValueError("a view must be of one class")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def way(self) -> int:
        """N."""
        return len(self.classes)

    @property
    def view_count(self) -> int:
        """V."""
        return int(self.views.max()) + 1 if len(self.views) else 0

    def counts(self) -> Tensor:
        """(N,) int64: images of each class."""
        return torch.bincount(self.labels, minlength=self.way)

    @staticmethod
    def of(
        features: Tensor, names: Sequence[str], files: Sequence[str], prints: Prints | None = None
    ) -> "Support":
        """From the class name of each image; each is its own view until `find_views` compares them."""
        classes = tuple(sorted(set(names)))
        place = {name: i for i, name in enumerate(classes)}
        labels = torch.tensor([place[name] for name in names], dtype=torch.int64)
        known = Prints.unknown(len(files)) if prints is None else prints
        return Support(features, labels, classes, tuple(files), known, torch.arange(len(files)))

    def names(self) -> list[str]:
        """(S,) the class of each image."""
        return [self.classes[label] for label in self.labels.tolist()]

    def same_as(self, features: Tensor) -> Tensor:
        """(B, S) bool: which support images are the very pictures of embedded features (B, D)."""
        exact = "donot_use_mm_for_euclid_dist"  # products of matrices round to about what is allowed
        apart: Tensor = torch.cdist(features, self.features, compute_mode=exact)
        allowed: Tensor = _SAME * self.features.norm(dim=-1)
        return apart <= allowed

    def some(self, rows: Sequence[int]) -> "Support":
        """The images `rows`, which may be none; each is its own view."""
        rows, names = list(rows), self.names()
        files = [self.files[i] for i in rows]
        return Support.of(self.features[rows], [names[i] for i in rows], files, self.prints.some(rows))

    def joined(self, other: "Support") -> "Support":
        """Both; a class that is in both has the images of both. Each image is its own view.

        Raises:
            ValueError: the features are of two networks.
        """
        if self.features.shape[1] != other.features.shape[1]:
            raise ValueError("features of two support sets must have one length")
        features = torch.cat([self.features, other.features])
        prints = Prints.joined([self.prints, other.prints])
        return Support.of(features, self.names() + other.names(), [*self.files, *other.files], prints)

    def without(self, classes: Collection[str]) -> "Support":
        """Without the images of these classes; what is left may be empty. Each image is its own view."""
        return self.some([i for i, name in enumerate(self.names()) if name not in classes])

    def by_view(self) -> "Support":
        """One image of each view: the one that is nearest to the others of it."""
        if self.view_count == len(self):
            return self
        rows: dict[int, list[int]] = {}
        for row, view in enumerate(self.views.tolist()):
            rows.setdefault(view, []).append(row)
        middles = []
        for of_view in rows.values():
            if len(of_view) == 1:
                middles += of_view
                continue
            distances = torch.cdist(self.features[of_view], self.features[of_view]).sum(1)
            middles.append(of_view[int(distances.argmin())])
        return self.some(middles)

    def view_means(self) -> Tensor:
        """(V, D): the mean feature of each view, as `by_view` has them."""
        if self.view_count == len(self):
            return self.features
        sums = torch.zeros(self.view_count, self.features.shape[1], dtype=self.features.dtype)
        sizes = torch.bincount(self.views).to(sums.dtype)
        return sums.index_add_(0, self.views, self.features) / sizes[:, None]

    def with_views(self, views: Tensor) -> "Support":
        """The same images in other views, which are renumbered."""
        numbers: dict[int, int] = {}
        ordered = [numbers.setdefault(view, len(numbers)) for view in views.tolist()]
        return replace(self, views=torch.tensor(ordered, dtype=torch.int64))


def one_less(counts: Tensor) -> Tensor:
    """(N,) images of each class while one of each is left out; the only one of a class stays."""
    return (counts - 1).clamp(min=1)


def even_shot(counts: Tensor) -> float:
    """Images a class that unequal numbers (N,) amount to: the harmonic mean, as the fewest decide."""
    return len(counts) / float((1 / counts.double()).sum())


def find_views(support: Support, compared: Compared | None = None) -> Support:
    """The support set with its views: images of a class that are linked by near copies are one.

    `compared` is that of `near_copies`.

    Near copies have the same pixels, up to small movements, or resembling ones and nearly the same feature.
    Features are not enough: classes that are far apart have nearly the same feature in all their images.
    """
    pairs = _pairs(support, compared)
    if not pairs:
        return support.with_views(torch.arange(len(support)))
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs)), (one, other)), shape=(len(support), len(support)))
    return support.with_views(torch.from_numpy(connected_components(graph, directed=False)[1]))


def _pairs(support: Support, compared: Compared | None) -> list[tuple[int, int]]:
    unit = F.normalize(support.features.double(), dim=-1)
    near = NEAR * _distance_between_classes(unit, support.labels)
    copies = near_copies(support.prints.thumbnails, support.labels, RESEMBLING, compared)
    return [(i, j) for i, j, r in copies if r >= EXPLAINED or float((unit[i] - unit[j]).norm()) <= near]


def _distance_between_classes(unit: Tensor, labels: Tensor) -> float:
    """The median distance between images of two classes; 0 where there is one class."""
    some = torch.arange(0, len(unit), max(1, -(-len(unit) // _MOST)))
    distances = torch.cdist(unit[some], unit[some])[labels[some, None] != labels[some]]
    return float(distances.median()) if len(distances) else 0.0
