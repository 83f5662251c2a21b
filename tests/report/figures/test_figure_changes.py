"""Changes: each row with its numbers under its heading; of tasks tested again points, means, intervals."""

import dataclasses

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.container import ErrorbarContainer
from sample_figures import require_no_collision

from mtl.ledger.regression_to_mean import Bin, Improvement, compare_gains
from mtl.report.contents import ClassChange, RunDifference
from mtl.report.drawings import to_svg
from mtl.report.figures import style as ink
from mtl.report.figures.changes import class_changes, differences, improvement

CHANGES = [
    ClassChange("5-way 1-shot", "boosted", "dogs", 0.5, 0.62, True),
    ClassChange("5-way 5-shot", "boosted", "dogs", 0.8, 0.8, False),
    ClassChange("5-way 1-shot", "boosted", "cats", 0.7, 0.645, False),
]
DIFFERENCES = [
    RunDifference("5-way 1-shot", "boosted", 0.61, 0.012, 0.004, None),
    RunDifference("5-way 5-shot", "boosted", 0.78, -0.003, 0.008, "another seed"),
    RunDifference("20-way 1-shot", "boosted", 0.41, -0.02, 0.03, None),
]


def rows(axes) -> list[str]:
    return [t.get_text() for t in axes.get_yticklabels()]


def headings(axes) -> dict[str, float]:
    return {t.get_text(): t.get_position()[1] for t in axes.texts if t.get_fontweight() == "bold"}


def ends(axes) -> list[str]:
    return [t.get_text() for t in axes.texts if t.get_position()[0] > 1]


def marks(axes, row: int) -> list:
    """The line and the marks of a row."""
    return [line for line in axes.lines if len(line.get_ydata()) and set(line.get_ydata()) == {row}]


def test_a_class_goes_from_its_recall_in_the_first_run_to_that_in_the_other():
    axes = class_changes(CHANGES).axes[0]
    assert rows(axes) == ["", "dogs", "cats", "", "dogs"]
    assert headings(axes) == {"5-way 1-shot, boosted": 0, "5-way 5-shot, boosted": 3}
    assert ends(axes) == ["", "+12.0", "−5.5", "", "0.0"]
    for row, change in ((1, CHANGES[0]), (2, CHANGES[2]), (4, CHANGES[1])):
        line, first, other = marks(axes, row)
        assert line.get_xdata() == pytest.approx([100 * change.before, 100 * change.after])
        assert (first.get_marker(), other.get_marker()) == ("|", "o")
        assert first.get_xdata() == pytest.approx([100 * change.before])
        assert other.get_xdata() == pytest.approx([100 * change.after])
        assert {x.get_color() for x in (line, first, other)} == {ink.VERMILION if row == 2 else ink.BLUE}
        assert {x.get_alpha() for x in (line, first, other)} == {1 if change.apart else 0.5}
    assert axes.get_xlabel() == "recall (%)"


def test_a_run_is_ahead_by_its_difference_with_its_interval():
    axes = differences(DIFFERENCES).axes[0]
    assert rows(axes) == ["", "5-way 1-shot", "5-way 5-shot", "20-way 1-shot"]
    assert headings(axes) == {"boosted": 0}
    assert ends(axes) == ["", "+1.2 ± 0.4", "−0.3 ± 0.8", "−2.0 ± 3.0"]
    expected = [(0.8, 1.6), (-1.1, 0.5), (-5, 1)]
    for row, (interval, difference) in enumerate(zip(expected, DIFFERENCES, strict=True), 1):
        line, dot = marks(axes, row)
        assert line.get_xdata() == pytest.approx(interval)
        assert dot.get_xdata() == pytest.approx([100 * difference.difference])
        assert dot.get_fillstyle() == ("full" if difference.paired else "none")
    assert [marks(axes, row)[1].get_alpha() for row in (1, 2, 3)] == [1, 0.5, 0.5]
    low, high = axes.get_xlim()
    assert low == -high
    assert high > 5
    (zero,) = (line for line in axes.lines if line.get_color() == ink.INK)
    assert zero.get_xdata() == [0, 0]


def test_several_runs_stand_under_the_settings():
    found = [RunDifference(s, r, 0.5, 0.01, 0.02, None) for r in ("a", "b") for s in ("1-shot", "5-shot")]
    axes = differences(found).axes[0]
    assert rows(axes) == ["", "a", "b", "", "a", "b"]
    assert headings(axes) == {"1-shot": 0, "5-shot": 3}


@pytest.mark.parametrize("difference", [0.0, 1e-6, -0.3])
def test_one_difference_alone_is_within_the_scale(difference):
    figure = differences([RunDifference("5-way", "run", 0.5, difference, 0.0, "other images")])
    low, high = figure.axes[0].get_xlim()
    assert low < 100 * difference < high
    assert np.isfinite([low, high]).all()
    require_no_collision(figure)


@pytest.mark.parametrize(("name", "count"), [("W" * 60, 1), ("two\nlines", 20), ("", 2)])
def test_names_of_any_width_and_number_fit(name, count):
    found = [ClassChange(name, name, f"{name} {i}", 0.5, 0.5 + i / 100, True) for i in range(count)]
    figure = class_changes(found)
    assert len(set(rows(figure.axes[0]))) == count + 1
    require_no_collision(figure)
    require_no_collision(
        differences([RunDifference(name, f"{name} {i}", 0.5, 0.1, 0.2, None) for i in range(2)])
    )


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="nothing to draw"):
        class_changes([])
    with pytest.raises(ValueError, match="nothing to draw"):
        differences([])


BINS = [Bin(0.3, 0.45, 0.05, 8, 0.4, 0.1, 5), Bin(0.6, 0.65, 0.04, 4, 0.7, 0.02, 9)]


@pytest.fixture
def found() -> Improvement:
    random = np.random.default_rng(1)
    picked, others = 0.2 + 0.5 * random.random((12, 2)), 0.3 + 0.5 * random.random((14, 2))
    return Improvement("task", picked, others, (0.081, 0.012), (-0.024, 0.031), (0.0449, 0.021), BINS)


def plot(figure):
    return figure.axes[1]  # after that of the key


def titles(figure) -> list[str]:
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
        "accuracy of a task before (%)",
        "accuracy of a task after (%)",
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


def test_the_title_tells_the_three_numbers(found):
    _, more = titles(improvement(found))
    assert more == "From an equal start picked ones ended 4.5 ± 2.1 points above the others."
    figure = improvement(dataclasses.replace(found, at_equal_start=(-0.01, 0.02)))
    assert titles(figure)[1] == "From an equal start picked ones ended 1.0 ± 2.0 points below the others."
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
    assert to_svg(shaded, "a").count("<use") < 300
    assert "data:image/png" in to_svg(shaded, "a")
    assert "data:image/png" not in to_svg(faint, "a")
    opacity = [min(x.get_alpha() for x in plot(f).lines if x.get_alpha()) for f in (faint, shaded)]
    assert opacity[1] < opacity[0]
    assert points(plot(shaded), ink.VERMILION) == pytest.approx(100 * many.picked)
