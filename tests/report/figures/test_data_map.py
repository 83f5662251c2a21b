"""Data maps: every point where its numbers are, the most telling ones named, no name over another."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from sample_figures import HOSTILE, require_no_collision, words

from mtl.ledger.training_dynamics import DataMap
from mtl.report.drawings import to_svg
from mtl.report.figures.data_map import data_map, extremes
from mtl.report.figures.style import BLUE, VERMILION


def _map(unit, n, names=None, seed=0):
    mean, spread, change = np.random.default_rng(seed).random((3, n))
    parts = 2 if unit == "pair" else 1
    named = names or [(f"name {i}",) * parts for i in range(n)]
    return DataMap(unit, tuple(named), mean, spread / 2, change - 0.5)


def _points(figure):
    (dots,) = figure.axes[0].collections
    return dots


@pytest.mark.parametrize("unit", ["class", "neighbourhood", "pair"])
def test_points_are_where_their_numbers_say(unit):
    found = _map(unit, 60)
    figure = data_map(found)
    dots = _points(figure)
    assert np.asarray(dots.get_offsets()) == pytest.approx(100 * np.column_stack([found.spread, found.mean]))
    better = -found.change if unit == "pair" else found.change
    assert np.asarray(dots.get_array()) == pytest.approx(100 * better)
    assert figure.axes[0].yaxis_inverted() == (unit == "pair")  # what is hard is below
    assert to_hex(dots.to_rgba([1e9])[0]) == BLUE
    assert to_hex(dots.to_rgba([-1e9])[0]) == VERMILION
    require_no_collision(figure)


def test_the_most_telling_points_have_a_ring_and_a_name():
    names = [(f"p{i}",) for i in range(20)]
    mean, spread, change = np.full(20, 0.5), np.full(20, 0.1), np.zeros(20)
    mean[3], spread[4], change[5], change[6] = 0.1, 0.4, 0.3, -0.3
    found = DataMap("class", tuple(names), mean, spread, change)
    assert extremes(found, found.change)[:4] == [3, 4, 5, 6]
    figure = data_map(found)
    rings = {tuple(line.get_xydata()[0]) for line in figure.axes[0].lines}
    assert {(10.0, 10.0), (40.0, 50.0)} <= rings
    assert {"p3", "p4", "p5", "p6"} <= set(words(figure))


def test_the_hardest_pair_is_the_most_confused_one():
    found = _map("pair", 30)
    assert extremes(found, -found.change)[0] == int(found.mean.argmax())


@pytest.mark.parametrize("seed", range(3))
def test_names_never_overlap(seed):
    found = _map("pair", 12, [(HOSTILE[i % len(HOSTILE)], "a long name " * 5) for i in range(12)], seed)
    close = DataMap("pair", found.names, found.mean / 1e3, found.spread / 1e3, found.change)
    figure = data_map(close)
    require_no_collision(figure)
    assert sum("–" in text for text in words(figure)) == 8


def test_what_never_changed_is_drawn():
    flat = np.full(5, 0.5)
    figure = data_map(DataMap("class", tuple((str(i),) for i in range(5)), flat, 0 * flat, 0 * flat))
    assert len(_points(figure).get_offsets()) == 5


def test_thousands_of_points_are_a_picture():
    assert len(to_svg(data_map(_map("pair", 2000)), "a")) < 400_000
