"""The support set of a person's own classes, as features: images are not needed any more."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mtl.data.near_copies import Prints

_SAME = 1e-3  # features of one picture, embedded twice, differ by less, as a share of their length


@dataclass(frozen=True, eq=False)
class Support:
    """S support images of N classes, embedded; classes may have different numbers of images.

    Near copies, such as the frames of a burst, are one view. They tell what one image tells: held out on its
    own, such an image would be answered by its copies.

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
        """From the class name of each image; each is a view of its own until `views.with_views` looks."""
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
        """The images `rows`, which may be none; each is a view of its own."""
        kept, names = list(rows), self.names()
        files = [self.files[i] for i in kept]
        return Support.of(self.features[kept], [names[i] for i in kept], files, self.prints.some(kept))

    def joined(self, other: "Support") -> "Support":
        """Both; a class that is in both has the images of both. Each image is a view of its own.

        Raises:
            ValueError: the features are of two networks.
        """
        if self.features.shape[1] != other.features.shape[1]:
            raise ValueError("features of two support sets must have one length")
        features = torch.cat([self.features, other.features])
        prints = Prints.joined([self.prints, other.prints])
        return Support.of(features, self.names() + other.names(), [*self.files, *other.files], prints)

    def without(self, classes: Collection[str]) -> "Support":
        """Without the images of these classes; what is left may be empty. Each image is a view of its own."""
        return self.some([i for i, name in enumerate(self.names()) if name not in classes])

    def by_view(self) -> "Support":
        """One image of each view: the one that is nearest to the others of it."""
        if self.view_count == len(self):
            return self
        rows: dict[int, list[int]] = {}
        for row, view in enumerate(self.views.tolist()):
            rows.setdefault(view, []).append(row)
        return self.some([_middle(self.features, of_view) for of_view in rows.values()])

    def view_means(self) -> Tensor:
        """(V, D): the mean feature of each view, as `by_view` has them."""
        if self.view_count == len(self):
            return self.features
        sums = torch.zeros(self.view_count, self.features.shape[1], dtype=self.features.dtype)
        sizes = torch.bincount(self.views).to(sums.dtype)
        return sums.index_add_(0, self.views, self.features) / sizes[:, None]

    def with_views(self, views: Tensor) -> "Support":
        """The same images in other views, whatever numbers these have."""
        numbers: dict[int, int] = {}
        ordered = [numbers.setdefault(view, len(numbers)) for view in views.tolist()]
        return replace(self, views=torch.tensor(ordered, dtype=torch.int64))


def _middle(features: Tensor, rows: list[int]) -> int:
    distances = torch.cdist(features[rows], features[rows]).sum(1)
    return rows[int(distances.argmin())]


def one_less(counts: Tensor) -> Tensor:
    """(N,) images of each class while one of each is left out; the only one of a class stays."""
    return (counts - 1).clamp(min=1)


def even_shot(counts: Tensor) -> float:
    """As how many images in each class unequal numbers (N,) are: the harmonic mean, as the fewest decide."""
    return len(counts) / float((1 / counts.double()).sum())
