"""What the templates write: numbers, sparklines, headings."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.report import page
from mtl.report.page import scale, sparkline

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
    task = dataclasses.replace(full_report.runs[0].phases[0].tasks[0], classes=names)
    shown = [dataclasses.replace(task.shown[0], name=names[i]) for i in (7, 3)]
    assert page.heading(dataclasses.replace(task, shown=shown)) == (
        ["class 07", "class 03"],
        [n for n in names if n not in {"class 07", "class 03"}],
    )
    assert page.heading(dataclasses.replace(task, classes=names[:5])) == (names[:5], [])
    assert page.heading(dataclasses.replace(task, shown=[])) == (names[:10], names[10:])
