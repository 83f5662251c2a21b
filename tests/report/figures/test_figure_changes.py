"""What another run has over the first: each row with its numbers, in order, under its heading."""

import numpy as np
import pytest
from sample_figures import require_no_collision

from mtl.report.contents import ClassChange, RunDifference
from mtl.report.figures import style as ink
from mtl.report.figures.changes import class_changes, differences

CHANGES = [
    ClassChange("5-way 1-shot", "boosted", "dogs", 0.5, 0.62, True),
    ClassChange("5-way 5-shot", "boosted", "dogs", 0.8, 0.8, False),
    ClassChange("5-way 1-shot", "boosted", "cats", 0.7, 0.645, False),
]
DIFFERENCES = [
    RunDifference("5-way 1-shot", "boosted", 0.61, 0.012, 0.004, None),
    RunDifference("5-way 5-shot", "boosted", 0.78, -0.003, 0.008, "another seed"),
    RunDifference("20-way 1-shot", "boosted", 0.41, -0.02, None, None),
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
    assert ends(axes) == ["", "+1.2 ± 0.4", "−0.3 ± 0.8", "−2.0"]
    expected = [(0.8, 1.6), (-1.1, 0.5), (-2, -2)]
    for row, (interval, difference) in enumerate(zip(expected, DIFFERENCES, strict=True), 1):
        line, dot = marks(axes, row)
        assert line.get_xdata() == pytest.approx(interval)
        assert dot.get_xdata() == pytest.approx([100 * difference.difference])
        assert dot.get_fillstyle() == ("full" if difference.paired else "none")
    assert [marks(axes, row)[1].get_alpha() for row in (1, 2, 3)] == [
        1,
        0.5,
        0.5,
    ]  # without interval: unknown
    low, high = axes.get_xlim()
    assert low == -high
    assert high > 2
    (zero,) = (line for line in axes.lines if line.get_color() == ink.INK)
    assert zero.get_xdata() == [0, 0]


def test_several_runs_stand_under_the_settings():
    found = [RunDifference(s, r, 0.5, 0.01, 0.02, None) for r in ("a", "b") for s in ("1-shot", "5-shot")]
    axes = differences(found).axes[0]
    assert rows(axes) == ["", "a", "b", "", "a", "b"]
    assert headings(axes) == {"1-shot": 0, "5-shot": 3}


def test_the_key_tells_of_rings_where_there_are_some():
    def key(figure) -> list[str]:
        return [t.get_text() for t in figure.axes[1].texts]

    assert key(differences(DIFFERENCES)) == ["same tasks", "other tasks", "faint: may be chance"]
    assert key(differences(DIFFERENCES[:1])) == ["faint: may be chance"]
    assert key(class_changes(CHANGES)) == ["first run", "other run", "faint: may be chance"]


@pytest.mark.parametrize("difference", [0.0, 1e-6, -0.3])
def test_one_difference_alone_is_within_the_scale(difference):
    figure = differences([RunDifference("5-way", "run", 0.5, difference, None, "other images")])
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
