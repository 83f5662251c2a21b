import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtl.episodes.pairs import pair_count, pair_index
from mtl.runtime.seeds import generator
from mtl.samplers import weighted_draw as draws
from mtl.samplers.weighted_draw import PairDraw, UnitDraw, draw_candidates, draw_ranked

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always


def by_order(weights: list[float], count: int) -> dict[tuple[int, ...], float]:
    """Exact probability of every ordered draw without replacement."""
    result = {}
    for order in itertools.permutations(range(len(weights)), count):
        left, p = sum(weights), 1.0
        for unit in order:
            p *= weights[unit] / left
            left -= weights[unit]
        result[order] = p
    return result


def assert_frequencies(drawn: list[tuple[int, ...]], exact: dict[tuple[int, ...], float]) -> None:
    observed = [drawn.count(key) for key in exact]
    assert sum(observed) == len(drawn), "something impossible was drawn"
    assert chisquare(observed, [p * len(drawn) for p in exact.values()]).pvalue > P_VALUE


@pytest.mark.parametrize("passes", [1, draws._PASSES])  # until what was drawn is struck out
@pytest.mark.parametrize("count", [1, 2, 4])
def test_units_are_drawn_without_replacement_in_proportion_to_what_is_left(count, passes, monkeypatch):
    monkeypatch.setattr(draws, "_PASSES", passes)
    weights = [0.6, 0.25, 0.1, 0.05]
    g = generator(1, "units", count, passes)
    draw = UnitDraw(torch.tensor(weights))
    drawn = [tuple(draw.draw(count, g).tolist()) for _ in range(3000)]
    assert_frequencies(drawn, by_order(weights, count))


def test_what_an_overwhelming_weight_leaves_is_drawn_in_proportion():
    weights = [3.0, 1e18, 1.0, 2.0]
    g = generator(1, "overwhelming")
    draw = UnitDraw(torch.tensor(weights, dtype=torch.float64))
    drawn = [tuple(draw.draw(3, g).tolist()) for _ in range(3000)]
    assert {first for first, *_ in drawn} == {1}
    left = {(1, *(other + (other > 0) for other in order)): p for order, p in by_order([3, 1, 2], 2).items()}
    assert_frequencies(drawn, left)


def test_one_overwhelming_weight_does_not_hold_the_draw_up():
    weights = torch.full((1000,), 1e-200, dtype=torch.float64)
    weights[3] = 1.0
    drawn = UnitDraw(weights).draw(1000, generator(0)).tolist()
    assert drawn[0] == 3
    assert sorted(drawn) == list(range(1000))


def test_each_weight_may_overwhelm_the_next():
    weights = torch.tensor([10.0**-k for k in range(0, 300, 20)], dtype=torch.float64)
    for _ in range(5):
        assert UnitDraw(weights).draw(15, generator(0)).tolist() == list(range(15))


def test_a_weight_of_nothing_is_never_drawn():
    draw = UnitDraw(torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0]))
    g = generator(0)
    assert {u for _ in range(200) for u in draw.draw(2, g).tolist()} == {1, 3}
    assert draw.draw(0, g).tolist() == []
    with pytest.raises(ValueError, match="weight above 0"):
        draw.draw(3, g)
    with pytest.raises(ValueError, match="weight above 0"):
        UnitDraw(torch.zeros(3)).draw(1, g)


@pytest.mark.parametrize("spread", [1, 100])  # with and without units struck out
def test_a_draw_is_a_function_of_weights_and_generator(spread):
    weights = torch.rand(100, dtype=torch.float64, generator=generator(0)) ** spread
    draw = UnitDraw(weights)
    first = draw.draw(10, generator(0, "draw", 1))
    assert not torch.equal(first, draw.draw(10, generator(0, "draw", 2)))
    assert torch.equal(first, draw.draw(10, generator(0, "draw", 1)))
    assert torch.equal(first, UnitDraw(weights.clone()).draw(10, generator(0, "draw", 1)))


@pytest.mark.parametrize("of", [UnitDraw, PairDraw])
def test_a_draw_does_not_depend_on_the_number_of_threads(of):
    weights = torch.rand(pair_count(448), dtype=torch.float64, generator=generator(0)) ** 30
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            draw, g = of(weights), generator(1)
            found.append([draw.draw(5, g).tolist() for _ in range(50)])
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def greedy(weights: dict[tuple[int, int], float], classes: int, way: int) -> dict[tuple[int, ...], float]:
    """Exact probability of every order of classes under the greedy rule, by enumeration."""
    total = sum(weights.values())
    chosen = {pair: w / total for pair, w in weights.items()}
    for _ in range(way - 2):
        longer = {}
        for order, p in chosen.items():
            score = {}
            for c in set(range(classes)) - set(order):
                score[c] = 1.0
                for other in order:
                    score[c] *= weights[min(c, other), max(c, other)]
            for c, s in score.items():
                longer[*order, c] = p * s / sum(score.values())
        chosen = longer
    return chosen


@pytest.mark.parametrize(("classes", "way"), [(4, 2), (5, 3), (4, 4)])
def test_classes_by_pairs_against_enumeration(classes, way):
    g = generator(2, "pairs", classes, way)
    flat = torch.rand(pair_count(classes), dtype=torch.float64, generator=g) ** 2 + 0.02
    weights = dict(zip(itertools.combinations(range(classes), 2), flat.tolist(), strict=True))
    table = PairDraw(flat)
    drawn = [tuple(table.draw(way, g).tolist()) for _ in range(3000)]
    exact = greedy(weights, classes, way)
    assert sum(exact.values()) == pytest.approx(1)
    assert_frequencies(drawn, exact)


def test_every_class_can_be_asked_for_even_where_pairs_weigh_nothing():
    weights = torch.zeros(pair_count(6))
    weights[pair_index(torch.tensor(2), torch.tensor(4), 6)] = 1.0
    drawn = PairDraw(weights).draw(6, generator(0)).tolist()
    assert drawn[:2] == [2, 4]
    assert sorted(drawn) == list(range(6))


@pytest.mark.parametrize("way", [0, 1, 5])
def test_a_way_that_cannot_be_is_refused(way):
    with pytest.raises(ValueError, match="classes needed"):
        PairDraw(torch.ones(6)).draw(way, generator(0))


def test_a_number_of_weights_that_makes_no_triangle_is_refused():
    with pytest.raises(ValueError, match="C >= 2"):
        PairDraw(torch.ones(5))


def _ranks(count, low, high, draws=60):
    """Which ranks of difficulty come, of `count` candidates in a mixed order."""
    random = generator(count, "ranks")
    difficulty = torch.randperm(count, generator=random)
    candidates = torch.stack([difficulty, difficulty + 100], 1)  # the first class is the rank
    drawn = [draw_ranked(candidates, difficulty.double(), low, high, random).tolist() for _ in range(draws)]
    assert all(other == rank + 100 for rank, other in drawn)
    return {rank for rank, _ in drawn}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_between_two_whole_ranks_just_those_are_drawn(count):
    for first in range(count):
        for last in range(first + 1, count + 1):
            expected = set(range(first, last))
            assert _ranks(count, first / count, last / count) == expected
            assert _ranks(count, 1 - (count - first) / count, last / count) == expected
            assert _ranks(count, first / count, first / count + (last - first) / count) == expected


@pytest.mark.parametrize("count", [7, 10, 16, 49])
def test_rounding_moves_no_whole_rank(count):
    for part in range(1, count + 1):
        least = _ranks(count, 1 - part / count, 1.0, draws=12 * part)
        assert count - part <= min(least)
        assert max(_ranks(count, 0.0, part / count, draws=12 * part)) <= part - 1


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("at", [0.0, 0.3, 0.5, 0.999, 1.0])
def test_an_empty_window_gives_the_one_rank_that_it_lies_at(count, at):
    (rank,) = _ranks(count, at, at, draws=20)
    assert rank == min(round(at * count), count - 1)


@given(st.integers(1, 30), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
@settings(deadline=None, max_examples=100)
def test_what_is_drawn_lies_within_a_rank_of_the_window(count, one, other, seed):
    low, high = sorted((one, other))
    difficulty = torch.arange(count).flip(0)
    rank = int(draw_ranked(difficulty[:, None], difficulty.double(), low, high, generator(seed))[0])
    assert 0 <= rank < count
    assert rank + 0.5 >= low * count or rank == count - 1
    assert rank <= high * count - 0.5 or rank <= low * count + 0.5  # an empty window gives one rank


def test_each_rank_of_the_window_is_equally_likely():
    random = generator(0)
    difficulty = torch.rand(12, generator=random)
    order = difficulty.argsort().tolist()
    drawn = [int(draw_ranked(torch.arange(12)[:, None], difficulty, 0.25, 0.75, random)) for _ in range(1200)]
    assert set(drawn) == set(order[3:9])
    assert chisquare([drawn.count(c) for c in order[3:9]]).pvalue > 1e-4


def test_where_all_are_as_difficult_the_candidates_come_as_they_are():
    random = generator(1)
    drawn = {int(draw_ranked(torch.arange(8)[:, None], torch.ones(8), 0.0, 0.5, random)) for _ in range(80)}
    assert drawn == {0, 1, 2, 3}


def test_candidates_are_uniform_sets_of_distinct_classes(index):
    tasks = draw_candidates(index, 3000, 2, generator(2))
    assert tasks.shape == (3000, 2)
    low, high = tasks.min(1).values, tasks.max(1).values
    assert (low < high).all()
    counts = torch.bincount(low * 20 + high)
    assert int((counts > 0).sum()) == 190
    assert chisquare(counts[counts > 0].tolist()).pvalue > 1e-4
