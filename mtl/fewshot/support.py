"""The support set of a person's own classes, as features: images are not needed any more."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_SAME = 1e-3  # features of one picture, embedded twice, differ by less, as a share of their length


@dataclass(frozen=True, eq=False)
class Support:
    """S support images of N classes, embedded; classes may have different numbers of images.

    Raises:
        ValueError: the parts do not fit each other.
    """

    features: Tensor  # (S, D)
    labels: Tensor  # (S,) int64, an index into `classes`
    classes: tuple[str, ...]  # (N,) sorted
    files: tuple[str, ...]  # (S,) where each image came from

    def __post_init__(self) -> None:
        count = len(self.features)
        if self.features.ndim != 2 or self.labels.shape != (count,) or len(self.files) != count:
            raise ValueError("features (S, D), labels (S,) and S files are needed")
        if list(self.classes) != sorted(set(self.classes)):
            raise ValueError("classes must be sorted and distinct")
        if self.labels.dtype != torch.int64 or sorted(set(self.labels.tolist())) != list(range(self.way)):
            raise ValueError("labels must be int64 indices into classes, and every class must have an image")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def way(self) -> int:
        """N."""
        return len(self.classes)

    def counts(self) -> Tensor:
        """(N,) int64: images of each class."""
        return torch.bincount(self.labels, minlength=self.way)

    @staticmethod
    def of(features: Tensor, names: Sequence[str], files: Sequence[str]) -> "Support":
        """From the class name of each image."""
        classes = tuple(sorted(set(names)))
        place = {name: i for i, name in enumerate(classes)}
        labels = torch.tensor([place[name] for name in names], dtype=torch.int64)
        return Support(features, labels, classes, tuple(files))

    def names(self) -> list[str]:
        """(S,) the class of each image."""
        return [self.classes[label] for label in self.labels.tolist()]

    def same_as(self, features: Tensor) -> Tensor:
        """(B, S) bool: which support images are the very pictures of embedded features (B, D)."""
        exact = "donot_use_mm_for_euclid_dist"  # products of matrices round to about what is allowed
        apart: Tensor = torch.cdist(features, self.features, compute_mode=exact)
        allowed: Tensor = _SAME * self.features.norm(dim=-1)
        return apart <= allowed

    def joined(self, other: "Support") -> "Support":
        """Both; a class that is in both has the images of both.

        Raises:
            ValueError: the features are of two networks.
        """
        if self.features.shape[1] != other.features.shape[1]:
            raise ValueError("features of two support sets must have one length")
        features = torch.cat([self.features, other.features])
        return Support.of(features, self.names() + other.names(), [*self.files, *other.files])

    def without(self, classes: Collection[str]) -> "Support":
        """Without the images of these classes; what is left may be empty."""
        kept = [i for i, name in enumerate(self.names()) if name not in classes]
        return Support.of(self.features[kept], [self.names()[i] for i in kept], [self.files[i] for i in kept])


def one_less(counts: Tensor) -> Tensor:
    """(N,) images of each class while one of each is left out; the only one of a class stays."""
    return (counts - 1).clamp(min=1)


def even_shot(counts: Tensor) -> float:
    """As how many images in each class unequal numbers (N,) are: the harmonic mean, as the fewest decide."""
    return len(counts) / float((1 / counts.double()).sum())
