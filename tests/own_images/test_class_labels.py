"""Labels of programs: which are taken, and that they come back as they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.own_images.class_labels import (
    checked_labels,
    class_labels,
    kept_dtype,
    kind_of,
    none_label,
    to_label,
)

WHOLE = st.integers(-(2**53), 2**53)
LISTS = st.one_of(
    st.lists(st.text(), min_size=1),
    st.lists(WHOLE, min_size=1),
    st.lists(WHOLE.map(float), min_size=1),
    st.lists(st.booleans(), min_size=1),
)


@settings(deadline=None)
@given(LISTS)
def test_labels_come_back_from_the_names_of_their_classes(labels):
    found = checked_labels(np.array(labels, dtype=object if isinstance(labels[0], str) else None))
    kind = kind_of(found)
    again = [to_label(str(label), kind) for label in found.tolist()]
    assert again == labels
    assert [type(label) for label in again] == [type(label) for label in labels]


def test_many_classes_of_one_image_are_nothing_to_warn_of():
    assert checked_labels([f"class {i}" for i in range(50)]).shape == (50,)
    assert checked_labels(np.arange(50.0)).tolist() == list(range(50))


def test_numbers_that_are_not_whole_are_refused():
    with pytest.raises(ValueError, match="labels are continuous; numbers must be whole"):
        checked_labels([1.0, 2.0, 2.5])


def test_none_of_them_is_a_text_among_texts_and_a_number_among_numbers():
    assert [none_label(kind) for kind in ("str", "int", "float")] == ["none of these", -1, -1]


@pytest.mark.parametrize(
    "labels", [[1, "a", 2], ("a", 1.0), [True, 2], [np.int64(1), np.str_("a")], [True, "a"]]
)
def test_labels_of_several_kinds_are_refused_before_numpy_makes_them_one(labels):
    with pytest.raises(ValueError, match=r"Unknown label type: labels are .* and .*; they must be all texts"):
        checked_labels(labels)


def test_large_whole_numbers_stay_whole():
    labels = [2**63 + 1, 1, 2]
    assert checked_labels(labels).tolist() == labels
    assert checked_labels(np.array(labels, dtype=np.uint64)).dtype == np.uint64
    for beyond in ([2**64, 1], [2**63, -1]):
        with pytest.raises(ValueError, match="do not fit into 64 bits"):
            checked_labels(beyond)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", "float16", "float32", "float64"])
def test_labels_come_back_in_their_type(dtype):
    labels = np.array([0, 1, 100], dtype=dtype)
    names = [str(label) for label in labels.tolist()]
    again = class_labels(sorted(names), kind_of(labels), kept_dtype(labels))
    assert again.dtype == labels.dtype
    assert again.tolist() == labels.tolist()
