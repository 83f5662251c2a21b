"""Hard draws beside the even share: bars as long as the draws, marks where an even share ends."""

import pytest
from sample_figures import require_no_collision

from mtl.ledger.class_history import Share
from mtl.report.figures import style as ink
from mtl.report.figures.draw_share import extra_draws

SHARES = [Share("dogs", 90, 400, 30.0), Share("cats", 45, 300, 30.0), Share("fish", 0, 100, 30.0)]


def names(axes) -> list[str]:
    return [t.get_text() for t in axes.get_yticklabels()]


def test_bars_are_draws_and_marks_are_even_shares():
    axes = extra_draws(SHARES).axes[0]
    assert names(axes) == ["dogs", "cats", "fish"]
    bars = [line.get_xydata().tolist() for line in axes.lines if line.get_color() == ink.BLUE]
    marks = [line.get_xydata().tolist() for line in axes.lines if line.get_color() == ink.INK]
    assert bars == [[[0, row], [share.hard, row]] for row, share in enumerate(SHARES)]
    assert [x for mark in marks for x, _ in mark] == [30.0] * 6
    for row, ((_, top), (_, bottom)) in enumerate(marks):
        assert top < row < bottom
    assert [t.get_text() for t in axes.texts] == ["3.0×", "1.5×", "0.0×"]
    assert axes.get_xlim()[0] == 0
    assert axes.get_xlim()[1] > 90
    low, high = axes.get_ylim()
    assert low > high  # the first is on top


def test_an_even_share_beyond_all_bars_is_within_the_scale():
    axes = extra_draws([Share("a", 1, 1, 50.0)]).axes[0]
    assert axes.get_xlim()[1] > 50


def test_nothing_to_expect_has_no_ratio():
    figure = extra_draws([Share("a", 0, 0, 0.0), Share("b", 3, 3, 0.0)])
    assert [t.get_text() for t in figure.axes[0].texts] == ["", ""]
    assert ink.to_svg(figure, "a")


@pytest.mark.parametrize(("name", "count"), [("W" * 60, 1), ("two\nlines", 20), ("", 2)])
def test_names_of_any_width_and_number_fit(name, count):
    figure = extra_draws([Share(f"{name} {i}", 1000 - i, 9999, 500.5) for i in range(count)])
    assert len(set(names(figure.axes[0]))) == count
    require_no_collision(figure)


def test_no_shares_are_refused():
    with pytest.raises(ValueError, match="nothing to draw"):
        extra_draws([])
