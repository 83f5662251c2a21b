"""Groups of images stay whole, and a class has them for itself."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.data.image_groups import group_ids, group_name, shared_names, whole_groups


def test_the_first_parenthesis_or_the_whole_match_names_the_group():
    assert group_name("clip07_0001.jpg", r"^(clip\d+)_") == "clip07"
    assert group_name("clip07_0001.jpg", r"clip\d+") == "clip07"
    assert group_name("film/clip07/1.jpg", r"^(.+)/") == "film/clip07"
    assert group_name("IMG_1.jpg", r"^(clip\d+)_") == ""
    assert group_name("IMG_1.jpg", r"^(clip\d+)?") == ""  # matches, and names nothing


def test_a_name_is_a_group_in_each_class_and_a_picture_without_one_is_alone():
    ids = group_ids(torch.tensor([0, 0, 0, 1, 1, 1]), ["a", "", "a", "a", "", ""])
    assert ids.tolist() == [0, 1, 0, 2, 3, 4]


@settings(max_examples=100, deadline=None)
@given(groups=st.lists(st.integers(0, 5), min_size=1, max_size=30), data=st.data())
def test_groups_are_taken_whole_some_are_taken_and_some_are_left(groups, data):
    count = data.draw(st.integers(1, len(groups)))
    order = torch.tensor(data.draw(st.permutations(range(len(groups)))))
    taken = whole_groups(torch.tensor(groups), order, count).tolist()
    inside = {g for g, took in zip(groups, taken, strict=True) if took}
    assert taken == [g in inside for g in groups]
    assert (0 < len(inside) < len(set(groups))) == (len(set(groups)) > 1)


@given(order=st.permutations(range(12)), count=st.integers(1, 11))
def test_images_that_are_alone_are_taken_as_they_come(order, count):
    taken = whole_groups(torch.arange(12), torch.tensor(order), count)
    assert set(taken.nonzero().flatten().tolist()) == set(order[:count])


def test_names_in_several_classes_are_found():
    found = shared_names({"fox": ["1", "2", ""], "wolf": ["2", "2", ""], "cat": ["3"]})
    assert found == {"2": ["fox", "wolf"]}
