"""Tasks, classes and pairs as carriers of a weight."""

import pytest
import torch

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeShape
from mtl.runtime.seeds import generator
from mtl.samplers.boosted import PairUnits, TaskUnits, Units, units_of


@pytest.fixture
def pool(index):
    return CategoriesSampler.of(index, EpisodeShape(4, 1, 2), 0).draw(6)


def test_a_config_names_its_units(pool):
    assert isinstance(units_of("task", 20, pool), TaskUnits)
    assert type(units_of("class", 20, None)) is Units
    assert isinstance(units_of("pair", 20, None), PairUnits)
    assert [
        len(units_of(*given)) for given in (("task", 20, pool), ("class", 20, None), ("pair", 20, None))
    ] == [
        6,
        20,
        190,
    ]


def test_members_are_the_classes_of_a_unit(pool):
    units = torch.tensor([0, 2])
    assert torch.equal(TaskUnits(pool.classes).members(units), pool.classes[[0, 2]])
    assert Units(20).members(units).tolist() == [[0], [2]]
    assert PairUnits(4).members(torch.arange(6)).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


@pytest.mark.parametrize("kind", ["task", "class", "pair"])
def test_a_unit_of_all_the_weight_is_what_is_drawn(pool, kind):
    units = units_of(kind, 20, pool if kind == "task" else None)
    weights = torch.full((len(units),), 1e-12, dtype=torch.float64)
    weights[3] = 1.0
    units.set_weights(weights)
    unit, classes = units.draw(4, generator(0))
    assert unit == (3 if kind == "task" else None)
    assert len(set(classes.tolist())) == 4
    assert set(units.members(torch.tensor([3]))[0].tolist()) <= set(classes.tolist())


@pytest.mark.parametrize("kind", ["task", "class", "pair"])
def test_errors_of_a_pool_are_those_of_its_units(pool, solved, kind):
    units = units_of(kind, 20, pool if kind == "task" else None)
    hard = int(pool.classes[0, 0])
    errors, visited = units.errors(pool, solved(pool, {hard: 0.0}))
    assert errors.shape == visited.shape == (len(units),)
    for unit, members in enumerate(units.members(torch.arange(len(units))).tolist()):
        together = [task for task in pool.classes.tolist() if set(members) <= set(task)]
        assert bool(visited[unit]) == bool(together)
        if hard in members and together:
            # 3 of 4 classes right; no query right; of the two-way task one direction all wrong, one all right
            assert float(errors[unit]) == pytest.approx({"task": 1 / 4, "class": 1, "pair": 1 / 2}[kind])
        else:
            assert float(errors[unit]) == 0
