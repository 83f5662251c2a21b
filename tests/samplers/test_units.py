"""Tasks, classes and pairs as carriers of a weight."""

import pytest
import torch

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeShape
from mtl.runtime.seeds import generator
from mtl.samplers.boosted_pool import (
    PairUnits,
    TaskUnits,
    Units,
    class_errors,
    pair_errors,
    task_errors,
    units_of,
)


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


def test_tasks_met_twice_have_the_mean_of_their_errors(solved_tasks):
    _, outcome = solved_tasks([[0, 1]] * 3, [[1.0, 0.5], [0.5, 0.5], [0.0, 0.5]])
    errors, visited = task_errors(torch.tensor([2, 0, 2]), outcome, 4)
    assert errors.tolist() == [0.5, 0.0, 0.5, 0.0]  # unit 2: (0.25 + 0.75)/2
    assert visited.tolist() == [True, False, True, False]
    assert errors.dtype == torch.float64


def test_classes_have_one_minus_their_mean_recall(solved_tasks):
    batch, outcome = solved_tasks([[0, 3], [3, 1]], [[1.0, 0.25], [0.75, 0.5]])
    errors, visited = class_errors(batch.classes, outcome, 5)
    assert errors.tolist() == [0.0, 0.5, 0.0, 0.5, 0.0]
    assert visited.tolist() == [True, True, False, True, False]


def test_pairs_have_the_error_of_their_two_way_task(solved_tasks):
    confusion = [
        [[0.6, 0.2, 0.2], [0.4, 0.5, 0.1], [0.0, 0.3, 0.7]],
        [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]],
    ]
    batch, outcome = solved_tasks([[2, 0, 3], [0, 1, 2]], [[0.0] * 3] * 2, confusion=confusion)
    errors, visited = pair_errors(batch.classes, outcome, 4)
    # units: 01, 02, 03, 12, 13, 23. Pair 02, of 2 first: 0.2/0.8 and 0.4/0.9 in the first task, of 0 first
    # 0.25/0.75 and 0.5/0.75 in the second
    pair_02 = ((0.2 / 0.8 + 0.4 / 0.9) / 2 + (0.25 / 0.75 + 0.5 / 0.75) / 2) / 2
    pair_23, pair_03 = (0.2 / 0.8 + 0) / 2, (0.1 / 0.6 + 0.3 / 1.0) / 2
    pair_01, pair_12 = (0.25 / 0.75 + 0) / 2, (0 + 0.25 / 0.5) / 2
    assert errors.tolist() == pytest.approx([pair_01, pair_02, pair_03, pair_12, 0, pair_23], abs=1e-7)
    assert visited.tolist() == [True, True, True, True, False, True]


def test_a_pair_that_got_no_probability_at_all_counts_as_chance(solved_tasks):
    # Queries of 0 and 1 are all taken for 2: nothing is known of the pair 01; half of 02 and 12 is wrong.
    confusion = [[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]]
    batch, outcome = solved_tasks([[0, 1, 2]], [[0.0, 0.0, 1.0]], confusion=confusion)
    assert pair_errors(batch.classes, outcome, 3)[0].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(("right", "error"), [(True, 0.0), (False, 1.0)])
def test_pairs_that_are_always_right_or_always_taken_for_each_other(solved_tasks, right, error):
    confusion = [[[1.0, 0.0], [0.0, 1.0]] if right else [[0.0, 1.0], [1.0, 0.0]]]
    batch, outcome = solved_tasks([[0, 1]], [[float(right)] * 2], confusion=confusion)
    assert pair_errors(batch.classes, outcome, 2)[0].tolist() == [error]


@pytest.mark.parametrize("of", [class_errors, pair_errors])
def test_errors_lie_in_range_and_keep_the_order_of_classes_out(of, random_solved):
    batch, outcome = random_solved(30, 5, 12, seed=0)
    errors, visited = of(batch.classes, outcome, 12)
    assert bool(((errors >= 0) & (errors <= 1)).all())
    assert bool((errors[~visited] == 0).all())
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = type(outcome)(
        outcome.loss,
        outcome.accuracy,
        outcome.recall[:, order],
        outcome.confusion[:, order][:, :, order],
    )
    again, _ = of(batch.classes[:, order], turned, 12)
    torch.testing.assert_close(again, errors, rtol=1e-6, atol=1e-9)


def test_a_unit_that_there_is_not_is_refused(solved_tasks):
    batch, outcome = solved_tasks([[0, 3]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match="unit 3 visited, but there are only 3"):
        class_errors(batch.classes, outcome, 3)
