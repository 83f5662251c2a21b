"""Labels as programs have them, and the names of classes that they are kept as."""

from typing import Any

from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, column_or_1d

from mtl.fewshot.answers import NONE
from mtl.fewshot.fitted import LabelKind

_KINDS: dict[str, LabelKind] = {"U": "str", "O": "str", "i": "int", "u": "int", "f": "float", "b": "bool"}


def checked(y: Any) -> NDArray[Any]:
    """(n,) the labels of n images.

    Raises:
        ValueError: they are none, or of several columns or kinds, or numbers that count nothing.
    """
    if y is None:
        raise ValueError("FewShotClassifier requires y to be passed, but the target y is None")
    labels: NDArray[Any] = column_or_1d(y, warn=True)
    mixed = labels.dtype.kind == "O" and not all(isinstance(label, str) for label in labels)
    if mixed or labels.dtype.kind not in _KINDS:
        raise ValueError(
            f"Unknown label type: labels are {labels.dtype}; they must be all texts, all numbers or all bools"
        )
    assert_all_finite(labels, input_name="y")
    if labels.dtype.kind == "f" and (labels % 1 != 0).any():
        raise ValueError("Unknown label type: labels are continuous; numbers must be whole")
    return labels


def kind_of(labels: NDArray[Any]) -> LabelKind:
    """Of labels as `checked` has them."""
    return _KINDS[labels.dtype.kind]


def to_label(name: str, kind: LabelKind) -> Any:
    """The label of a class, whose name is `str` of it."""
    read: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": lambda text: text == "True"}
    return read[kind](name)


def none_label(kind: LabelKind) -> str | int:
    """What is answered to an image of none of the classes."""
    return NONE if kind == "str" else -1
