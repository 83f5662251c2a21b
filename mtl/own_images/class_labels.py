"""Labels of programs, and the names of classes that they are saved as."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtl.own_images.answers import NONE
from mtl.own_images.classifier import LabelKind

#: Types of numbers that labels come back in.
LABEL_DTYPE = r"u?int(8|16|32|64)|float(16|32|64)"

_KINDS: dict[str, LabelKind] = {"U": "str", "O": "str", "i": "int", "u": "int", "f": "float", "b": "bool"}


def checked_labels(y: Any) -> NDArray[Any]:
    """(n,) the labels of n images.

    Raises:
        ValueError: they are none, or of several columns or kinds, or numbers that are not whole.
    """
    from sklearn.utils import assert_all_finite, column_or_1d  # a second that the commands do without

    if y is None:
        raise ValueError("FewShotClassifier requires y to be passed, but the target y is None")
    labels: NDArray[Any] = column_or_1d(_as_array(y), warn=True)
    mixed = labels.dtype.kind == "O" and not all(isinstance(label, str) for label in labels)
    if mixed or labels.dtype.kind not in _KINDS:
        raise ValueError(
            f"Unknown label type: labels are {labels.dtype}; they must be all texts, all numbers or all bools"
        )
    assert_all_finite(labels, input_name="y")
    if labels.dtype.kind == "f" and (labels % 1 != 0).any():
        raise ValueError("Unknown label type: labels are continuous; numbers must be whole")
    return labels


def _as_array(y: Any) -> Any:
    """Refuses labels that numpy would change: it makes texts of `[1, "a"]`, and floats of large integers."""
    if not isinstance(y, list | tuple) or not y:
        return y
    kinds = sorted({kind for label in y if (kind := _family(label))})
    if len(kinds) > 1:
        raise ValueError(
            f"Unknown label type: labels are {' and '.join(kinds)}; they must be all texts, "
            "all numbers or all bools"
        )
    if not all(isinstance(label, int | np.integer) and not isinstance(label, bool) for label in y):
        return y
    least, most = int(min(y)), int(max(y))
    if least < np.iinfo(np.int64).min or most > np.iinfo(np.uint64 if least >= 0 else np.int64).max:
        raise ValueError(f"Unknown label type: labels from {least} to {most} do not fit into 64 bits")
    return y if most <= np.iinfo(np.int64).max else np.array(y, dtype=np.uint64)


def _family(label: Any) -> str | None:
    """Texts, numbers or bools; None for what is none of them."""
    if isinstance(label, bool | np.bool_):
        return "bools"
    if isinstance(label, str):
        return "texts"
    return "numbers" if isinstance(label, int | float | np.number) else None


def kept_dtype(labels: NDArray[Any]) -> str:
    """The name of the type of labels that are numbers; else an empty text."""
    return labels.dtype.name if re.fullmatch(LABEL_DTYPE, labels.dtype.name) else ""


def class_labels(names: Sequence[str], kind: LabelKind, dtype: str) -> NDArray[Any]:
    """(N,) sorted: the labels of classes, in the type that they were given in."""
    labels = [to_label(name, kind) for name in names]
    sorted_labels: NDArray[Any] = np.unique(np.array(labels, dtype=dtype or None))
    return sorted_labels


def kind_of(labels: NDArray[Any]) -> LabelKind:
    """Of labels from `checked_labels`."""
    return _KINDS[labels.dtype.kind]


def to_label(name: str, kind: LabelKind) -> Any:
    """The label of a class, whose name is `str` of it."""
    read: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": lambda text: text == "True"}
    return read[kind](name)


def none_label(kind: LabelKind) -> str | int:
    """The answer to an image of none of the classes."""
    return NONE if kind == "str" else -1
