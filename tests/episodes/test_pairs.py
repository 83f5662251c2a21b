import itertools

import pytest
import torch

from mtl.episodes.pairs import class_count, pair_count, pair_index, pair_members, places, row_starts


@pytest.mark.parametrize("classes", [2, 3, 4, 7, 50])
def test_units_number_the_triangle_row_after_row(classes):
    pairs = torch.tensor(list(itertools.combinations(range(classes), 2)))
    units = torch.arange(pair_count(classes))
    assert torch.equal(pair_index(pairs[:, 0], pairs[:, 1], classes), units)
    assert torch.equal(pair_index(pairs[:, 1], pairs[:, 0], classes), units)
    assert torch.equal(pair_members(units, classes), pairs)
    assert class_count(len(units)) == classes


def test_rows_begin_with_the_next_class_and_the_last_is_empty():
    assert row_starts(4).tolist() == [0, 3, 5, 6]


def test_places_are_the_pairs_of_a_task():
    assert list(zip(*(k.tolist() for k in places(4)), strict=True)) == list(
        itertools.combinations(range(4), 2)
    )
    with pytest.raises(ValueError, match="read-only"):
        places(4)[0][0] = 1


def test_there_and_back_for_thousands_of_classes():
    classes = 4112
    units = torch.cat([torch.arange(0, pair_count(classes), 7), torch.tensor([pair_count(classes) - 1])])
    members = pair_members(units, classes)
    assert bool((members[:, 0] < members[:, 1]).all())
    assert int(members.max()) == classes - 1
    assert torch.equal(pair_index(members[:, 0], members[:, 1], classes), units)


@pytest.mark.parametrize("pairs", [-1, 0, 2, 4, 5])
def test_no_number_of_classes_makes_these(pairs):
    with pytest.raises(ValueError, match="number of classes"):
        class_count(pairs)
