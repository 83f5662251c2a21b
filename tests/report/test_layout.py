"""What templates write: numbers, sparklines, headings, and text that no page can hold."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from mtl.report.layout import (
    breakable,
    count,
    figure,
    heading,
    lay_out,
    percent,
    position,
    printable,
    scale,
    sort_key,
    sparkline,
    without_numbers,
)


def test_percent():
    assert percent(0.12345) == "12.3"
    assert percent(0.12345, 2) == "12.35"
    assert percent(1) == "100.0"
    assert [percent(x, signed=True) for x in (0.031, -0.031, 0.0, -0.0001)] == ["+3.1", "−3.1", "0.0", "0.0"]
    assert [percent(x) for x in (None, math.nan, math.inf)] == ["–"] * 3


def test_other_numbers():
    assert count(1234567) == "1,234,567"
    assert [figure(x) for x in (0.12345, 0, 0.0001234, -2.5)] == ["0.123", "0.000", "0.00012", "−2.500"]
    assert figure(None) == figure(math.nan) == "–"
    assert [sort_key(x) for x in (0.25, -1.5, None, math.nan)] == ["0.25", "-1.5", "", ""]


def test_position():
    assert [position(x, (0.2, 0.6), 80) for x in (0.2, 0.3, 0.6, 0.1, 2)] == [0, 20, 80, 0, 80]
    with pytest.raises(ValueError, match="an axis must go up, not from 1 to 1"):
        position(0.5, (1, 1), 80)


def test_characters_that_no_page_can_hold_are_replaced():
    assert printable("a\x00b\x1bc\udcffd\te\nf") == "a�b�c�d\te\nf"
    assert printable(3) == 3


def test_a_template_that_asks_for_what_is_not_there_fails():
    with pytest.raises(UndefinedError):
        lay_out("page.html", {}, {"phases": list})


def test_a_name_may_go_on_in_another_line_after_its_parts():
    assert breakable("Old_Church/a<b") == "Old_<wbr>Church/<wbr>a&lt;b"
    assert breakable("plain") == "plain"


SHARES = st.lists(st.none() | st.just(math.nan) | st.floats(0, 1), max_size=120)


def test_scale():
    assert scale([[0.43, None], [0.61, math.nan]]) == pytest.approx((0.4, 0.7))
    assert scale([[], [None]]) == (0.0, 1.0)
    assert scale([[0.5]]) == pytest.approx((0.4, 0.6))


def test_a_sparkline_breaks_at_gaps_and_points_up():
    lines = sparkline([0.0, 1.0, None, 0.5, math.nan], (0, 1), 80, 20)
    assert lines == [[(0.0, 20.0), (20.0, 0.0)], [(60.0, 10.0)]]
    assert sparkline([0.25], (0, 1), 80, 20) == [[(0.0, 15.0)]]
    assert sparkline([], (0, 1)) == sparkline([None], (0, 1)) == []


def test_a_long_sparkline_is_of_means():
    values = np.random.default_rng(0).random(480)
    ((_, *_), *_) = lines = sparkline(values.tolist(), (0, 1), 96, 1000)
    means = values.reshape(48, 10).mean(1)
    assert [y for _, y in lines[0]] == pytest.approx(1000 * (1 - means), abs=0.06)
    thinned_by_leaving_out = 1000 * (1 - values[::10])
    assert [y for _, y in lines[0]] != pytest.approx(thinned_by_leaving_out, abs=0.06)


@given(SHARES)
def test_a_sparkline_stays_in_its_box(values):
    lines = sparkline(values, scale([values]), 96, 24)
    points = [point for line in lines for point in line]
    assert all(0 <= x <= 96 and 0 <= y <= 24 for x, y in points)
    assert [x for x, _ in points] == sorted({x for x, _ in points})
    if len(values) <= 48:
        assert len(points) == sum(v is not None and math.isfinite(v) for v in values)


def test_a_large_task_is_headed_by_the_classes_it_shows_and_the_rest_can_be_unfolded(full_report):
    names = [f"class {i:02}" for i in range(20)]
    card = full_report.runs[0].phases[0].tasks[0]
    card = dataclasses.replace(card, task=dataclasses.replace(card.task, classes=tuple(names)))
    shown = [dataclasses.replace(card.shown[0], name=names[i]) for i in (7, 3)]
    assert heading(dataclasses.replace(card, shown=shown)) == (
        ["class 07", "class 03"],
        [n for n in names if n not in {"class 07", "class 03"}],
    )
    few = dataclasses.replace(card.task, classes=tuple(names[:5]))
    assert heading(dataclasses.replace(card, task=few)) == (names[:5], [])
    assert heading(dataclasses.replace(card, shown=[])) == (names[:10], names[10:])


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["078.Gray_Kingbird", "079.Ringed"], ["Gray_Kingbird", "Ringed"]),
        (["1 ash", "2 ash"], ["1 ash", "2 ash"]),
        (["1 ash", "elm"], ["1 ash", "elm"]),
        (["1.5", "2.7"], ["1.5", "2.7"]),
        ([], []),
    ],
)
def test_numbers_before_names_are_dropped_where_names_stay_distinct(names, shown):
    assert list(without_numbers(names).values()) == shown
