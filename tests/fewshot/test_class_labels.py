"""Labels of programs: which are taken, and that they come back as they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.fewshot.labels import checked, kind_of, none_label, to_label

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
    found = checked(np.array(labels, dtype=object if isinstance(labels[0], str) else None))
    kind = kind_of(found)
    again = [to_label(str(label), kind) for label in found.tolist()]
    assert again == labels
    assert [type(label) for label in again] == [type(label) for label in labels]


def test_many_classes_of_one_image_are_nothing_to_warn_of():
    assert checked([f"class {i}" for i in range(50)]).shape == (50,)
    assert checked(np.arange(50.0)).tolist() == list(range(50))


def test_numbers_that_are_not_whole_are_refused():
    with pytest.raises(ValueError, match="labels are continuous; numbers must be whole"):
        checked([1.0, 2.0, 2.5])


def test_none_of_them_is_a_text_among_texts_and_a_number_among_numbers():
    assert [none_label(kind) for kind in ("str", "int", "float")] == ["none of these", -1, -1]
