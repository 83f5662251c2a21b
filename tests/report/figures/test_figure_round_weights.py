"""Rounds of hard-task sampling: quantities by round, weights over their reference, draws over even shares."""

import math

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from sample_figures import drawn, require_no_collision

from mtl.ledger.class_history import Share, WeightsAt
from mtl.ledger.store import RoundRow
from mtl.report.drawings import to_svg
from mtl.report.figures.round_weights import boosting, draw_shares
from mtl.report.figures.style import BLUE, VERMILION

ACCURACY, ERROR, ALPHA, SHARE = (
    "Pool accuracy (%)", "Weighted error ε (%)", "Weight α of the round", "Share of hard episodes (%)",
)  # fmt: skip
EFFECTIVE = "Effective pairs (of 50)"
SHARES = [Share("dogs", 90, 400, 30.0), Share("cats", 45, 300, 30.0), Share("fish", 0, 100, 30.0)]


def a_round(number: int, **changed) -> RoundRow:
    known = {"step": 5 * number, "unit": "pair", "pool": 40, "epsilon": 0.3 - 0.0001 * number}
    known |= {"alpha": 1 + 0.1 * number, "accuracy": 0.7 + 0.0001 * number, "hard_share": 0.25}
    return RoundRow(number, **{**known, **changed})


def some_weights(number: int, kept_all: bool = True, heaviest: float = 0.1) -> WeightsAt:
    return WeightsAt(number, 50, heaviest, 0.016, (0.008, 0.012, 0.024, 0.032), 30.0 + number, kept_all)


def panels(rounds, weights) -> dict:
    return {axes.get_title("left"): axes for axes in boosting(rounds, weights).axes}


def test_each_quantity_is_drawn_by_round():
    rounds = [a_round(3), a_round(4), a_round(7)]
    found = panels(rounds, [some_weights(3), some_weights(7)])
    expected = {
        ACCURACY: [(r.round, 100 * r.accuracy) for r in rounds],
        ERROR: [(r.round, 100 * r.epsilon) for r in rounds],
        ALPHA: [(r.round, r.alpha) for r in rounds],
        SHARE: [(r.round, 25) for r in rounds],
        EFFECTIVE: [(3, 33), (7, 37)],
    }
    assert list(found)[:5] == list(expected)
    for title, points in expected.items():
        assert drawn(found[title], BLUE)[0] == pytest.approx(np.array(points, dtype=float))
    assert found[EFFECTIVE].get_ylim()[1] >= 50  # all of them are within the scale
    assert np.ptp(found[ACCURACY].get_ylim()) >= 2  # a line that is even looks even
    assert len({axes.get_xlim() for axes in found.values()}) == 1
    assert all(axes.get_xlabel() == "round" for axes in found.values())


@pytest.mark.parametrize(
    ("kept_all", "base", "title"),
    [
        (True, 1 / 50, "Weight of a pair, in multiples of the even weight"),
        (False, 0.016, "Weight of a pair, in multiples of the median of the 50 kept"),
    ],
)
def test_weights_are_shown_over_the_even_weight_or_the_median(kept_all, base, title):
    weights = [some_weights(0, True, 0.1), some_weights(1, kept_all, 0.15)]  # one not kept makes none even
    axes = panels([a_round(0), a_round(1)], weights)[title]
    assert drawn(axes, VERMILION)[0][:, 1] == pytest.approx(np.array([0.1, 0.15]) / base)
    assert drawn(axes, BLUE)[0][:, 1] == pytest.approx(np.array([0.016, 0.016]) / base)
    bands = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    heights = [np.unique(band.get_paths()[0].vertices[:, 1].round(9)) for band in bands]
    assert heights[0] == pytest.approx(np.array([0.008, 0.032]) / base)
    assert heights[1] == pytest.approx(np.array([0.012, 0.024]) / base)
    assert {t.get_text() for t in axes.texts} == {"heaviest", "10 to 90 %", "25 to 75 %", "median"}


def test_far_weights_are_on_a_logarithmic_scale_and_near_ones_are_not():
    rounds = [a_round(0), a_round(1)]
    far, near = (
        boosting(rounds, [some_weights(i, heaviest=h) for i in (0, 1)]).axes[-1] for h in (0.9, 0.05)
    )
    assert (far.get_yscale(), near.get_yscale()) == ("log", "linear")
    assert "1×" in [far.yaxis.get_major_formatter()(tick) for tick in far.get_yticks()]


def test_what_no_round_has_is_left_out():
    plain = {"epsilon": None, "alpha": 0.0}
    rounds = [a_round(i, **plain, accuracy=None if i == 1 else 0.5, hard_share=0.0) for i in range(3)]
    found = panels(rounds, [])
    assert list(found) == [ACCURACY]
    assert drawn(found[ACCURACY], BLUE)[0] == pytest.approx(np.array([[0, 50], [2, 50]]))
    found = panels([a_round(0, epsilon=math.nan, alpha=0.0), a_round(1, alpha=0.0)], [])
    assert drawn(found[ERROR], BLUE)[0] == pytest.approx(np.array([[1, 29.99]]))
    assert 0 in drawn(found[ALPHA], BLUE)[0][:, 1]  # no better than chance: worth showing
    assert boosting([], []) is None
    assert boosting([a_round(0, **plain, accuracy=None, hard_share=0.0)], []) is None


def test_weights_that_have_no_scale_are_left_out():
    nothing = WeightsAt(0, 50, 1.0, 0.0, (0.0, 0.0, 0.0, 0.0), 1.0, False)
    assert list(panels([a_round(0)], [nothing])) == [ACCURACY, ERROR, ALPHA, SHARE]
    all_on_one = WeightsAt(0, 50, 1.0, 0.0, (0.0, 0.0, 0.0, 0.0), 1.0, True)  # the even weight is a scale
    figure = boosting([a_round(0)], [all_on_one])
    assert drawn(figure.axes[-1], VERMILION)[0] == pytest.approx(np.array([[0, 50]]))
    assert to_svg(figure, "a")


@pytest.mark.parametrize("count", [1, 2, 40, 500])
def test_any_number_of_rounds_can_be_read(count):
    figure = boosting([a_round(i) for i in range(count)], [some_weights(i) for i in range(count)])
    assert len(figure.axes) == 6
    if count == 1:
        assert all(axes.get_xticks().tolist() == [0] for axes in figure.axes)
        bars = [line.get_ydata() for line in figure.axes[-1].lines if line.get_alpha()]
        assert np.array(bars) == pytest.approx(np.array([[0.4, 1.6], [0.6, 1.2]]))
    require_no_collision(figure)


def test_bars_are_draws_and_marks_are_even_shares():
    axes = draw_shares(SHARES).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["dogs", "cats", "fish"]
    assert [(bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in axes.patches] == [
        (share.hard, pytest.approx(row)) for row, share in enumerate(SHARES)
    ]
    marks = np.array(axes.collections[0].get_segments())
    assert (marks[:, :, 0] == 30).all()
    assert marks[:, :, 1].mean(1) == pytest.approx([0, 1, 2])
    assert [t.get_text() for t in axes.texts] == ["3.0×", "1.5×", "0.0×"]
    assert axes.get_xlim()[0] == 0
    assert axes.get_xlim()[1] > 90
    assert axes.yaxis_inverted()  # the first is on top


@pytest.mark.parametrize(("name", "count"), [("W" * 60, 1), ("two\nlines", 20), ("", 2)])
def test_names_of_any_width_and_number_fit(name, count):
    figure = draw_shares([Share(f"{name} {i}", 1000 - i, 9999, 500.5) for i in range(count)])
    assert len({t.get_text() for t in figure.axes[0].get_yticklabels()}) == count
    require_no_collision(figure)


def test_nothing_to_expect_has_no_ratio():
    figure = draw_shares([Share("a", 0, 0, 0.0), Share("b", 3, 3, 0.0)])
    assert [t.get_text() for t in figure.axes[0].texts] == ["", ""]
