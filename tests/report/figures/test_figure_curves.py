"""Training curves show the measurements that were written down, and nothing where there were none."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_figures import drawn, require_no_collision, words

from mtl.report.figures.curves import smooth, training_curves
from mtl.report.figures.style import BLUE, PALETTE
from mtl.runtime.run_folder import Metrics

KINDS = {
    "Validation accuracy (%), ringed where best": ("val", 100),
    "Training loss": ("loss", 1),
    "Training accuracy (%)": ("accuracy", 100),
}
VALIDATION, LOSS, _ = KINDS


def lines(count: int, shift: float = 0.0) -> list[dict]:
    """As meta-training writes them: at step 0 there is validation alone."""
    return [{"step": 0, "val": 0.25, "seconds": 0.1}] + [
        {"step": 50 * i, "loss": 2 / i + shift, "accuracy": 1 - 0.5 / i, "val": 0.6 + 0.1 * math.sin(i)}
        for i in range(1, count)
    ]


def panels(runs) -> dict:
    return {axes.get_title("left"): axes for axes in training_curves(runs).axes}


def points(of: list[dict], kind: str) -> np.ndarray:
    key, scale = KINDS[kind]
    return np.array([(x["step"], scale * x[key]) for x in of if key in x])


def test_runs_are_drawn_in_each_panel_each_in_its_colour_and_with_its_name():
    runs = {"first": lines(8), "second": lines(5, 0.3), "$x_1$ <b>": lines(6, 0.1)}
    found = panels(runs)
    assert list(found) == list(KINDS)
    for kind, axes in found.items():
        assert axes.get_xlabel() == "training step"
        for made, colour in zip(runs.values(), PALETTE, strict=False):
            assert drawn(axes, colour)[0] == pytest.approx(points(made, kind))
    names = [t.get_text().split(" ", 1)[1] for t in found[VALIDATION].texts]
    assert sorted(names) == sorted(runs)
    require_no_collision(training_curves(runs))


def test_many_measurements_are_drawn_as_they_are_and_smooth():
    made = lines(60)
    found = panels({"run": made})
    (raw,), (smoothed,) = (drawn(found[LOSS], BLUE, alpha=alpha) for alpha in (0.4, None))
    assert raw == pytest.approx(points(made, LOSS))
    assert smoothed[:, 0] == pytest.approx(raw[:, 0])
    assert smoothed[:, 1] == pytest.approx(smooth(raw[:, 1].tolist()))
    assert drawn(found[VALIDATION], BLUE)[0] == pytest.approx(points(made, VALIDATION))  # never smoothed


def test_settings_are_lines_of_one_run_with_their_best():
    made = [{"step": i, "val_5way_10shot": 0.5 + 0.1 * (i == 2), "val_5way_1shot": 0.1 * i} for i in range(5)]
    axes = panels({"run": made})[VALIDATION]
    one, ten = drawn(axes, BLUE, fillstyle="full")  # in the order of shots, not of letters
    assert one[:, 1] == pytest.approx([0, 10, 20, 30, 40])
    assert ten[:, 1] == pytest.approx([50, 50, 60, 50, 50])
    assert {t.get_text() for t in axes.texts} == {"40.0 5-way 1-shot", "60.0 5-way 10-shot"}
    rings = np.concatenate(drawn(axes, BLUE, fillstyle="none"))
    assert rings == pytest.approx(np.array([[4, 40], [2, 60]]))
    assert axes.lines[0].get_linestyle() != axes.lines[2].get_linestyle()


def test_without_validation_the_first_panel_has_the_names():
    runs = {"a": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], "b": [{"step": 1, "loss": 3.0}]}
    figure = training_curves(runs)
    assert len(figure.axes) == 1
    assert {"Training loss", "a", "b"} <= set(words(figure))
    require_no_collision(figure)


def test_measurements_that_are_no_number_do_not_count():
    made = [*lines(4), {"step": 7, "loss": math.nan, "val": None}]
    assert drawn(panels({"run": made})[LOSS], BLUE)[0] == pytest.approx(points(lines(4), LOSS))


@pytest.mark.parametrize("runs", [{}, {"a": []}, {"a": [{"step": 1}]}])
def test_nothing_measured_is_no_figure(runs):
    assert training_curves(runs) is None


@pytest.mark.parametrize("count", [1, 500])
def test_what_a_stage_writes_can_be_drawn(tmp_path, count):
    metrics = Metrics(tmp_path / "metrics.jsonl", "pretrain", None)
    for step in range(1, count + 1):
        metrics.write(step=step, loss=1.5, accuracy=0.25, val_5way_1shot=0.5, val_5way_5shot=0.75)
    written = [json.loads(line) for line in metrics.path.read_text().splitlines()]
    require_no_collision(training_curves({"run": written}))


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=90))
def test_moving_means_are_means_of_neighbours(values):
    reach = max(1, len(values) // 20)
    expected = [np.mean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]
    assert smooth(values) == pytest.approx(expected, abs=1e-9)
