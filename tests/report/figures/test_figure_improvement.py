"""Before against after: every point, the bins' means with their intervals, and the three numbers in words."""

import dataclasses

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.container import ErrorbarContainer
from sample_figures import require_no_collision

from mtl.ledger.regression_to_mean import Bin, Improvement, compare_gains
from mtl.report.figures import style as ink
from mtl.report.figures.regression import improvement

BINS = [Bin(0.3, 0.45, 0.05, 8, 0.4, 0.1, 5), Bin(0.6, 0.65, 0.04, 4, 0.7, 0.02, 9)]


@pytest.fixture
def found() -> Improvement:
    random = np.random.default_rng(1)
    picked, others = 0.2 + 0.5 * random.random((12, 2)), 0.3 + 0.5 * random.random((14, 2))
    return Improvement("class", picked, others, (0.081, 0.012), (-0.024, 0.031), (0.0449, 0.021), BINS)


def plot(figure):
    return figure.axes[1]  # after that of the key


def told(figure) -> list[str]:
    return [t.get_text() for t in figure.texts]


def points(axes, colour: str) -> np.ndarray:
    (line,) = (
        x for x in axes.lines if x.get_color() == colour and x.get_linestyle() == "None" and x.get_alpha()
    )
    return np.asarray(line.get_xydata())


def bars(axes) -> dict[str, np.ndarray]:
    """By colour, (bins, 3) of x, lower and upper end."""
    made = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    ends = {c.lines[0].get_color(): np.array(c.lines[2][0].get_segments()) for c in made}
    return {colour: np.column_stack([s[:, 0, 0], s[:, :, 1]]) for colour, s in ends.items()}


def test_every_point_is_where_it_was_measured(found):
    axes = plot(improvement(found))
    assert points(axes, ink.VERMILION) == pytest.approx(100 * found.picked)
    assert points(axes, ink.BLUE) == pytest.approx(100 * found.others)
    (diagonal,) = (x for x in axes.lines if x.get_color() == ink.INK)
    assert diagonal.get_xdata() == pytest.approx(diagonal.get_ydata())
    assert axes.get_xlim() == axes.get_ylim()
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "recall of a class before (%)",
        "recall of a class after (%)",
    )


def test_means_of_bins_have_their_intervals(found):
    axes = plot(improvement(found))
    assert bars(axes)[ink.VERMILION] == pytest.approx(np.array([[30, 40, 50], [60, 61, 69]]))
    (band,) = (c for c in axes.collections if isinstance(c, FillBetweenPolyCollection))
    corners = {tuple(np.round(v, 9)) for v in band.get_paths()[0].vertices}
    assert corners == {(30, 30), (30, 50), (60, 68), (60, 72)}
    line = next(x for x in axes.lines if x.get_color() == ink.BLUE and x.get_linestyle() == "-")
    assert np.asarray(line.get_xydata()) == pytest.approx(np.array([[30, 40], [60, 70]]))


def test_one_bin_has_bars_for_both(found):
    axes = plot(improvement(dataclasses.replace(found, bins=BINS[:1])))
    assert bars(axes)[ink.VERMILION] == pytest.approx(np.array([[30, 40, 50]]))
    assert bars(axes)[ink.BLUE] == pytest.approx(np.array([[30, 30, 50]]))
    assert not [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]


def test_without_bins_the_points_are_drawn(found):
    figure = improvement(dataclasses.replace(found, bins=[], at_equal_start=None))
    assert points(plot(figure), ink.VERMILION) == pytest.approx(100 * found.picked)
    assert told(figure) == ["Picked classes changed by +8.1 ± 1.2 points, others by −2.4 ± 3.1."]
    assert ink.to_svg(figure, "a")


def test_the_title_tells_the_three_numbers(found):
    _, more = told(improvement(found))
    assert more == "From an equal start picked ones ended 4.5 ± 2.1 points above the others."
    less = dataclasses.replace(found, unit="task", at_equal_start=(-0.01, 0.02))
    figure = improvement(less)
    assert told(figure)[0].startswith("Picked tasks changed by ")
    assert told(figure)[1] == "From an equal start picked ones ended 1.0 ± 2.0 points below the others."
    assert plot(figure).get_xlabel() == "accuracy of a task before (%)"
    names = [t.get_text() for t in figure.axes[0].texts]
    assert names == ["picked (12)", "others (14)"]


def test_all_points_are_within_the_axes_and_intervals_as_far_as_shares_go(found):
    wide = [Bin(0.5, 0.6, 0.9, 8, 0.5, 0.1, 5)]
    low, high = plot(improvement(dataclasses.replace(found, bins=wide))).get_xlim()
    assert -10 < low < 0
    assert 100 < high < 110
    low, high = plot(improvement(found)).get_xlim()
    assert low < 100 * min(found.picked.min(), found.others.min())
    assert high > 100 * max(found.picked.max(), found.others.max())


def test_a_crowd_is_a_picture_and_no_darker_than_a_few():
    random = np.random.default_rng(0)
    few, many = (
        compare_gains("task", random.random((n, 2)).round(1), random.random((n, 2)).round(1))
        for n in (20, 3000)
    )
    faint, shaded = (improvement(x) for x in (few, many))
    assert ink.to_svg(shaded, "a").count("<use") < 300
    assert "data:image/png" in ink.to_svg(shaded, "a")
    assert "data:image/png" not in ink.to_svg(faint, "a")
    opacity = [min(x.get_alpha() for x in plot(f).lines if x.get_alpha()) for f in (faint, shaded)]
    assert opacity[1] < opacity[0]
    assert points(plot(shaded), ink.VERMILION) == pytest.approx(100 * many.picked)


def test_equal_numbers_can_be_drawn():
    same = np.full((10, 2), 0.5)
    figure = improvement(compare_gains("class", same, same))
    assert plot(figure).get_xlim()[0] < 50 < plot(figure).get_xlim()[1]
    require_no_collision(figure)
