"""Changes: each row with its numbers under its heading; of tasks tested again points, means, intervals."""

import dataclasses

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.container import ErrorbarContainer
from sample_figures import drawn, require_no_collision, words

from mtl.ledger.regression_to_mean import Bin, Improvement
from mtl.report.contents import ClassChange, RunDifference
from mtl.report.drawings import to_svg
from mtl.report.figures.changes import class_changes, differences, improvement
from mtl.report.figures.style import BLUE, INK, VERMILION

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
BINS = [Bin(0.3, 0.45, 0.05, 8, 0.4, 0.1, 5), Bin(0.6, 0.65, 0.04, 4, 0.7, 0.02, 9)]


def table(axes) -> tuple[list[str], list[tuple[str, float]], list[str]]:
    """Names of the rows, headings with their rows, and results."""
    headings = [(t.get_text(), t.xy[1]) for t in axes.texts if t.get_fontweight() == "bold"]
    results = [t.get_text() for t in axes.texts if t.get_fontweight() != "bold"]
    return [t.get_text() for t in axes.get_yticklabels()], headings, results


def test_a_class_goes_from_its_recall_in_the_first_run_to_that_in_the_other():
    axes = class_changes(CHANGES).axes[0]
    names, headings, results = table(axes)
    assert names == ["", "dogs", "cats", "", "dogs"]
    assert headings == [("5-way 1-shot, boosted", 0), ("5-way 5-shot, boosted", 3)]
    assert results == ["", "+12.0", "−5.5", "", "0.0"]
    for row, change in ((1, CHANGES[0]), (2, CHANGES[2]), (4, CHANGES[1])):
        line, first, other = (x for x in axes.lines if set(x.get_ydata()) == {row})
        assert line.get_xdata() == pytest.approx([100 * change.before, 100 * change.after])
        assert first.get_xdata() == pytest.approx([100 * change.before])
        assert other.get_xdata() == pytest.approx([100 * change.after])
        assert (first.get_marker(), other.get_marker()) == ("|", "o")
        assert {x.get_color() for x in (line, first, other)} == {VERMILION if row == 2 else BLUE}
        assert {x.get_alpha() for x in (line, first, other)} == {1 if change.apart else 0.5}


def test_a_run_is_ahead_by_its_difference_with_its_interval():
    axes = differences(DIFFERENCES).axes[0]
    names, headings, results = table(axes)
    assert names == ["", "5-way 1-shot", "5-way 5-shot", "20-way 1-shot"]
    assert headings == [("boosted", 0)]
    assert results == ["", "+1.2 ± 0.4", "−0.3 ± 0.8", "−2.0 ± 3.0"]
    intervals = [(0.8, 1.6), (-1.1, 0.5), (-5, 1)]
    for row, (interval, difference) in enumerate(zip(intervals, DIFFERENCES, strict=True), 1):
        line, dot = (x for x in axes.lines if set(x.get_ydata()) == {row} and x.get_color() != INK)
        assert line.get_xdata() == pytest.approx(interval)
        assert dot.get_xdata() == pytest.approx([100 * difference.difference])
        assert dot.get_fillstyle() == ("full" if difference.paired else "none")
        assert dot.get_alpha() == (1 if row == 1 else 0.5)
    low, high = axes.get_xlim()
    assert low == -high < -5


def test_several_runs_are_under_the_settings():
    found = [RunDifference(s, r, 0.5, 0.01, 0.02, None) for r in ("a", "b") for s in ("1-shot", "5-shot")]
    names, headings, _ = table(differences(found).axes[0])
    assert names == ["", "a", "b", "", "a", "b"]
    assert headings == [("1-shot", 0), ("5-shot", 3)]


@pytest.mark.parametrize("difference", [0.0, 1e-6, -0.3])
def test_one_difference_alone_is_within_the_scale(difference):
    figure = differences([RunDifference("5-way", "run", 0.5, difference, 0.0, "other images")])
    low, high = figure.axes[0].get_xlim()
    assert low < 100 * difference < high
    require_no_collision(figure)


@pytest.mark.parametrize(("name", "count"), [("W" * 60, 1), ("two\nlines", 20), ("", 2)])
def test_names_of_any_width_and_number_fit(name, count):
    figure = class_changes([ClassChange(name, name, f"{name} {i}", 0.5, 0.6, True) for i in range(count)])
    assert len(set(table(figure.axes[0])[0])) == count + 1
    require_no_collision(figure)


@pytest.mark.parametrize("draw", [class_changes, differences])
def test_no_rows_are_refused(draw):
    with pytest.raises(ValueError, match="nothing to draw"):
        draw([])


@pytest.fixture
def found() -> Improvement:
    random = np.random.default_rng(1)
    picked, others = 0.2 + 0.5 * random.random((12, 2)), 0.3 + 0.5 * random.random((14, 2))
    return Improvement("task", picked, others, (0.081, 0.012), (-0.024, 0.031), (0.0449, 0.021), BINS)


def bars(axes) -> dict[str, np.ndarray]:
    """By colour, (bins, 3) of x, lower and upper end."""
    made = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    ends = {c.lines[0].get_color(): np.array(c.lines[2][0].get_segments()) for c in made}
    return {colour: np.column_stack([s[:, 0, 0], s[:, :, 1]]) for colour, s in ends.items()}


def test_every_point_is_where_it_was_measured_within_equal_axes(found):
    axes = improvement(found).axes[0]
    assert drawn(axes, VERMILION, markersize=4.5)[0] == pytest.approx(100 * found.picked)
    assert drawn(axes, BLUE, markersize=4.5)[0] == pytest.approx(100 * found.others)
    (diagonal,) = drawn(axes, INK)
    assert diagonal[:, 0] == pytest.approx(diagonal[:, 1])
    low, high = axes.get_xlim()
    assert (low, high) == axes.get_ylim()
    shares = np.vstack([found.picked, found.others])
    assert low < 100 * shares.min() < 100 * shares.max() < high


def test_means_of_bins_have_their_intervals(found):
    axes = improvement(found).axes[0]
    assert bars(axes)[VERMILION] == pytest.approx(np.array([[30, 40, 50], [60, 61, 69]]))
    (band,) = (c for c in axes.collections if isinstance(c, FillBetweenPolyCollection))
    corners = {tuple(np.round(v, 9)) for v in band.get_paths()[0].vertices}
    assert corners == {(30, 30), (30, 50), (60, 68), (60, 72)}
    assert drawn(axes, BLUE, linestyle="-")[0] == pytest.approx(np.array([[30, 40], [60, 70]]))


def test_one_bin_has_bars_for_both_and_none_can_be_drawn(found):
    axes = improvement(dataclasses.replace(found, bins=BINS[:1])).axes[0]
    assert bars(axes)[BLUE] == pytest.approx(np.array([[30, 30, 50]]))
    wide = improvement(dataclasses.replace(found, bins=[Bin(0.5, 0.6, 0.9, 8, 0.5, 0.1, 5)])).axes[0]
    assert -10 < wide.get_xlim()[0] < 0  # shares go no further
    assert 100 < wide.get_xlim()[1] < 110
    require_no_collision(improvement(dataclasses.replace(found, bins=[], at_equal_start=None)))


def test_the_title_says_what_was_gained(found):
    figure = improvement(found)
    assert (
        figure.texts[0]
        .get_text()
        .endswith("\nFrom an equal start picked ones ended 4.5 ± 2.1 points above the others.")
    )
    assert {"picked (12)", "others (14)"} <= set(words(figure))
    behind = improvement(dataclasses.replace(found, at_equal_start=(-0.01, 0.02)))
    assert behind.texts[0].get_text().endswith("ended 1.0 ± 2.0 points below the others.")


def test_a_crowd_is_a_picture_and_no_darker_than_a_few(found):
    crowd = np.random.default_rng(0).random((3000, 2)).round(1)
    many = improvement(dataclasses.replace(found, picked=crowd, others=crowd))
    assert "data:image/png" in to_svg(many, "a")
    assert "data:image/png" not in to_svg(improvement(found), "a")
    few, faint = (min(x.get_alpha() or 1 for x in f.axes[0].lines) for f in (improvement(found), many))
    assert faint < few
