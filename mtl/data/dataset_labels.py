"""The class of every item of a data set, taken from what the set stores: no item is ever read for it."""

import operator
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

_NAMES = ("targets", "labels", "_labels")  # where torchvision's data sets store their classes
_ROWS = (list, tuple, range, array)  # which numpy may read item by item
Labels = Sequence[int] | Tensor | Dataset[Any]  # of every item, or the data set that stores them


def labels_of(dataset: Dataset[Any]) -> Tensor:
    """(M,) int64: the class of every item of a data set, in the order of its indices, no image read.

    Understands torchvision's folders and other sets that store a row of integers as `targets`, `labels` or
    `_labels` (as they are before any target_transform); sets with a method `get_labels()`, the convention of
    imbalanced-dataset-sampler and easyfsl; `samples`, pairs of a file and its class, or a row of whole
    numbers; TensorDataset (its last tensor); and Subset and ConcatDataset of these, nested too. Two sets of a
    ConcatDataset that use the same number share a class.

    Raises:
        ValueError: the data set stores no labels, or not an integer for every item.
    """
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset)[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    if isinstance(dataset, ConcatDataset):
        return torch.cat([labels_of(part) for part in dataset.datasets])
    if isinstance(dataset, TensorDataset):
        return _row(dataset, dataset.tensors[-1])
    for name in _NAMES:
        if getattr(dataset, name, None) is not None:
            return _row(dataset, getattr(dataset, name))
    if callable(method := getattr(dataset, "get_labels", None)):
        return _row(dataset, method())
    if (samples := getattr(dataset, "samples", None)) is not None:
        return _row(dataset, _classes_of_samples(samples))
    raise ValueError(
        f"{type(dataset).__name__} has none of {', '.join(_NAMES)}, get_labels() and samples to take its "
        "labels from; give the class of every item, a list or tensor of integers, instead"
    )


def as_labels(labels: Labels, least: int = 1) -> Tensor:
    """(M,) int64 of integers of any type, in any kind of sequence, or of a data set (`labels_of`).

    Args:
        labels: the row, or the data set.
        least: number of labels, 0 or 1.

    Raises:
        TypeError: neither a row nor a data set.
        ValueError: too few labels, or not integers in a row.
    """
    if isinstance(labels, Tensor):
        row = labels.detach().cpu().numpy()
    elif isinstance(labels, _ROWS) or (hasattr(labels, "__array__") and not isinstance(labels, Dataset)):
        row = np.asarray(labels)
    elif hasattr(labels, "__getitem__") and not isinstance(labels, Mapping):
        return labels_of(labels)  # type: ignore[arg-type]  # reading its items would decode every picture
    else:
        kind = type(labels).__name__
        raise TypeError(f"labels must be a row of integers, or a data set that stores them, not {kind}")
    if row.dtype == object and row.ndim == 1:  # a column of a table; integers among its objects are integers
        row = np.asarray(row.tolist())
    if row.ndim == 1 and len(row) == 0 == least:
        return torch.empty(0, dtype=torch.int64)
    if row.ndim != 1 or not len(row) or row.dtype.kind not in "biu":
        texts = row.dtype.kind in "US"
        hint = "; number texts first: numpy.unique(labels, return_inverse=True)[1]" if texts else ""
        raise ValueError(f"labels must be (M,) integers, at least one, not {row.shape} {row.dtype}{hint}")
    return torch.from_numpy(row.astype(np.int64))


def whole_number(name: str, value: Any, least: int) -> int:
    """The argument `name` of a sampler as an int; ValueError unless it is whole and at least `least`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} = {value!r} must be a whole number of at least {least}")
    return number


def _classes_of_samples(samples: Any) -> Any:
    """The classes among what a data set stores as `samples`."""
    if isinstance(samples, Tensor | np.ndarray):
        row = np.asarray(samples)
        if row.ndim == 1 and row.dtype.kind == "f" and np.array_equal(row, np.round(row)):  # never nan
            return row.astype(np.int64)
        return row
    if isinstance(samples, Iterable) and all(isinstance(s, tuple | list) and len(s) == 2 for s in samples):
        return [label for _, label in samples]
    return samples


def _row(dataset: Dataset[Any], labels: Any) -> Tensor:
    try:
        row = as_labels(labels)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{type(dataset).__name__}: {e}") from None
    count = len(dataset) if hasattr(dataset, "__len__") else len(row)
    if len(row) != count:
        raise ValueError(f"{type(dataset).__name__} has {count} items and {len(row)} labels")
    return row
