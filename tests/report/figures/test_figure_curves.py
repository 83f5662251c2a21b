"""Training curves show the measurements that were written down, and nothing where there were none."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_figures import require_no_collision

from mtl.report.figures import style as ink
from mtl.report.figures.curves import smooth, training_curves
from mtl.runtime.run_folder import Metrics

VALIDATION = "Validation accuracy (%), ringed where best"


def lines(count: int, shift: float = 0.0) -> list[dict]:
    """As meta-training writes them: at step 0 there is validation alone."""
    first = {"step": 0, "val": 0.25, "seconds": 0.1}
    return [first] + [
        {
            "step": 50 * i,
            "loss": 2 / i + shift,
            "accuracy": 1 - 0.5 / i,
            "val": 0.6 + 0.1 * math.sin(i),
        }
        for i in range(1, count)
    ]


def panels(figure) -> dict:
    return {axes.texts[0].get_text(): axes for axes in figure.axes}


def drawn(axes, colour: str = ink.BLUE) -> list[np.ndarray]:
    """(n, 2) of the lines of a colour, without the leads to names."""
    own = [
        line for line in axes.lines if line.get_color() == colour and line.get_transform() == axes.transData
    ]
    return [np.asarray(line.get_xydata(), dtype=float) for line in own if len(line.get_xdata()) > 1]


def points(of: list[dict], key: str, scale: float) -> np.ndarray:
    return np.array([(x["step"], scale * x[key]) for x in of if key in x])


def test_each_kind_of_measurement_has_its_panel():
    made = lines(8)
    found = panels(training_curves({"run": made}))
    assert list(found) == [VALIDATION, "Training loss", "Training accuracy (%)"]
    for title, key, scale in (
        (VALIDATION, "val", 100),
        ("Training loss", "loss", 1),
        ("Training accuracy (%)", "accuracy", 100),
    ):
        (line,) = drawn(found[title])
        assert line == pytest.approx(points(made, key, scale))
        assert found[title].get_xlabel() == "training step"


def test_many_measurements_are_drawn_as_they_are_and_smooth():
    made = lines(60)
    axes = panels(training_curves({"run": made}))["Training loss"]
    raw, smoothed = drawn(axes)
    assert raw == pytest.approx(points(made, "loss", 1))
    assert smoothed[:, 0] == pytest.approx(raw[:, 0])
    assert smoothed[:, 1] == pytest.approx(smooth(raw[:, 1].tolist()))
    assert axes.lines[0].get_alpha() < 0.5
    assert axes.lines[1].get_alpha() is None
    (validation,) = drawn(panels(training_curves({"run": made}))[VALIDATION])  # never smoothed
    assert validation == pytest.approx(points(made, "val", 100))


def test_settings_are_lines_of_one_run_with_their_best():
    made = [{"step": i, "val_5way_10shot": 0.5 + 0.1 * (i == 2), "val_5way_1shot": 0.1 * i} for i in range(5)]
    axes = panels(training_curves({"run": made}))[VALIDATION]
    one, ten = drawn(axes)  # in the order of shots, not of letters
    assert one[:, 1] == pytest.approx([0, 10, 20, 30, 40])
    assert ten[:, 1] == pytest.approx([50, 50, 60, 50, 50])
    assert {t.get_text() for t in axes.texts} == {VALIDATION, "40.0 5-way 1-shot", "60.0 5-way 10-shot"}
    rings = [line.get_xydata().tolist() for line in axes.lines if line.get_fillstyle() == "none"]
    assert rings == [[[4.0, pytest.approx(40)]], [[2.0, pytest.approx(60)]]]
    assert axes.lines[0].get_linestyle() != axes.lines[2].get_linestyle()


def test_runs_lie_over_each_other_each_in_its_colour_and_with_its_name():
    runs = {"first": lines(8), "second": lines(5, 0.3), "$x_1$ <b>": lines(6, 0.1)}
    figure = training_curves(runs)
    for title, axes in panels(figure).items():
        key, scale = {VALIDATION: ("val", 100), "Training loss": ("loss", 1)}.get(title, ("accuracy", 100))
        for made, colour in zip(runs.values(), ink.PALETTE, strict=False):
            (line,) = drawn(axes, colour)
            assert line == pytest.approx(points(made, key, scale))
    names = [t.get_text().split(" ", 1)[1] for t in panels(figure)[VALIDATION].texts[1:]]
    assert sorted(names) == sorted(runs)
    require_no_collision(figure)


def test_without_validation_the_first_panel_has_the_names():
    runs = {"a": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], "b": [{"step": 1, "loss": 3.0}]}
    figure = training_curves(runs)
    (axes,) = figure.axes
    assert {t.get_text() for t in axes.texts} == {"Training loss", "a", "b"}
    require_no_collision(figure)


def test_measurements_that_are_no_number_do_not_count():
    made = [*lines(4), {"step": 7, "loss": math.nan, "val": None}]
    (line,) = drawn(panels(training_curves({"run": made}))["Training loss"])
    assert line == pytest.approx(points(lines(4), "loss", 1))


@pytest.mark.parametrize("runs", [{}, {"a": []}, {"a": [{"step": 1}]}])
def test_nothing_measured_is_no_figure(runs):
    assert training_curves(runs) is None


def test_what_a_stage_writes_can_be_drawn(tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl", "pretrain", None)
    for step in (10, 20):
        metrics.write(
            step=step, epoch=1, loss=1.5, accuracy=0.25, seconds=0.1, val_5way_1shot=0.5, val_5way_5shot=0.75
        )
    written = [json.loads(line) for line in metrics.path.read_text().splitlines()]
    figure = training_curves({"run": written})
    assert [len(drawn(axes)) for axes in figure.axes] == [2, 1, 1]
    require_no_collision(figure)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=90))
def test_moving_means_are_means_of_neighbours(values):
    reach = max(1, len(values) // 20)
    expected = [np.mean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]
    assert smooth(values) == pytest.approx(expected, abs=1e-9)
