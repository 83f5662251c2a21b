import itertools

import pytest
import torch

from mtl.hard_tasks.pairs import class_count, pair_count, pair_index, pair_members


@pytest.mark.parametrize("classes", [2, 3, 4, 7, 50])
def test_units_number_the_triangle_row_after_row(classes):
    pairs = torch.tensor(list(itertools.combinations(range(classes), 2)))
    units = torch.arange(pair_count(classes))
    assert torch.equal(pair_index(pairs[:, 0], pairs[:, 1], classes), units)
    assert torch.equal(pair_index(pairs[:, 1], pairs[:, 0], classes), units)
    assert torch.equal(pair_members(units, classes), pairs)
    assert class_count(len(units)) == classes


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
