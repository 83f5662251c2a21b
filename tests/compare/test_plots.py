"""Plots of a study: nothing over anything else, and lines where the numbers are."""

import math

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from sample_figures import require_no_collision

from mtl.compare import plots
from mtl.compare.differences import compare
from mtl.errors import UserError
from mtl.report.figures.style import INK

NAMES = [
    "uniform",
    "boosted",
    "pairs",
    "meta-batch, duplicates",
    "a rather long name for an arm",
    "$x_1$ of $y",
]


@pytest.fixture
def cells(answered, cell):
    """Makes cells of many arms and three seeds; the second arm lacks a seed and the third has but one."""

    def make(arms: int):
        base = answered(tasks=60)
        names = [NAMES[i] if i < len(NAMES) else f"arm {i}" for i in range(arms)]
        made = []
        for i, name in enumerate(names):
            for seed in range({1: 2, 2: 1}.get(i, 3)):
                curve = [(step, 0.5 + step / 3000 + 0.001 * i + 0.01 * seed) for step in range(0, 401, 50)]
                recall = answered(tasks=60, seed=100 * i + seed).recall
                changed = type(base)(base.classes, recall, base.judged, base.queries)
                made.append(cell(name, seed, changed, curve=curve))
        return made

    return make


@pytest.mark.parametrize("arms", [2, 4, 20, 26])
def test_no_text_is_over_another_or_beyond_the_picture(cells, arms):
    made = cells(arms)
    forest = plots.forest(compare(made, "uniform", 0, count=5), "5-way 1-shot")
    assert len(forest.axes[0].get_yticklabels()) == arms - 1
    require_no_collision(forest)
    curves = plots.curves(made, "uniform")
    assert len(curves.axes[0].texts) == arms
    require_no_collision(curves)


def test_a_panel_shows_means_and_both_intervals_in_points(cells):
    study = compare(cells(2), "uniform", 0, count=5)
    found = study.settings["5-way 1-shot"][1].differences
    figure = plots.forest(study, "5-way 1-shot")
    assert [axes.get_title("left") for axes in figure.axes] == list(found)
    for axes, d in zip(figure.axes, found.values(), strict=True):
        lines = [np.asarray(line.get_xdata(), dtype=float) for line in axes.lines]
        for half in (d.half, d.half_corrected):
            ends = [100 * (d.mean - half), 100 * (d.mean + half)]
            assert any(len(x) == 2 and np.allclose(x, ends) for x in lines)
        assert any(len(x) == 1 and np.allclose(x, 100 * d.mean) for x in lines)
        assert axes.get_xlabel() == "points"
        low, high = axes.get_xlim()
        assert low == -high
        assert abs(100 * d.mean) < high


def test_an_interval_that_few_seeds_made_huge_does_not_set_the_scale(cells):
    study = compare(cells(8), "uniform", 0, count=5)
    results = study.settings["5-way 1-shot"][1:]
    figure = plots.forest(study, "5-way 1-shot")
    two_seeds = results[0].differences["accuracy"]
    high = figure.axes[0].get_xlim()[1]
    assert 100 * two_seeds.half_corrected > 3 * high
    assert high > max(100 * (abs(r.differences["accuracy"].mean)) for r in results)
    arrows = [line for line in figure.axes[0].lines if line.get_marker() in "<>"]
    assert {(a.get_marker(), a.get_ydata()[0]) for a in arrows} >= {("<", 0), (">", 0)}
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels[:3] == ["boosted (2 of 3 seeds)", "pairs (1 of 3 seeds)", "meta-batch, duplicates"]


def test_curves_are_means_with_a_band_of_one_standard_error(cell, answered):
    a, step = answered(), (0, 10, 20)
    values = np.array([[0.5, 0.6, 0.7], [0.52, 0.64, 0.76], [0.57, 0.62, 0.64]])
    made = [cell("uniform", s, a, curve=list(zip(step, v, strict=True))) for s, v in enumerate(values)]
    made[1].curve.append((30, 0.9))  # a step that the others lack
    made.append(cell("other", 0, a, curve=[(0, 0.4), (10, 0.5)]))
    axes = plots.curves(made, "uniform").axes[0]
    uniform, other = (line for line in axes.lines if line.get_linewidth() > 1)
    assert uniform.get_color() == INK
    assert uniform.get_zorder() > other.get_zorder()
    assert uniform.get_linewidth() > other.get_linewidth()
    assert np.allclose(uniform.get_xydata(), np.stack([step, 100 * values.mean(0)], axis=1))
    assert np.allclose(other.get_xydata(), [[0, 40], [10, 50]])
    band = next(c for c in axes.collections if isinstance(c, PolyCollection)).get_paths()[0].vertices
    error = 100 * values.std(0, ddof=1) / math.sqrt(3)
    for x, mean, e in zip(step, 100 * values.mean(0), error, strict=True):
        heights = band[np.isclose(band[:, 0], x), 1]
        assert (heights.min(), heights.max()) == pytest.approx((mean - e, mean + e))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("training step", "validation accuracy (%)")


@pytest.mark.parametrize("name", ["W" * 30, "two\nlines", "词"])
def test_names_of_any_width_and_one_seed_can_be_drawn(cell, answered, name):
    seeds, judged = (1, 0) if name == "词" else (2, 7)
    made = [
        cell(arm, s, answered(judged=judged), curve=[(5, 0.5)])
        for s in range(seeds)
        for arm in ("uniform", name)
    ]
    require_no_collision(plots.forest(compare(made, "uniform", 0, count=5), "5-way 1-shot"))
    require_no_collision(plots.curves(made, "uniform"))


def test_nothing_to_draw_is_refused(cell, answered):
    alone = [cell("uniform", 0, answered(), curve=[])]
    with pytest.raises(UserError, match="no arm shares a seed with uniform"):
        plots.forest(compare(alone, "uniform", 0, count=5), "5-way 1-shot")
    with pytest.raises(UserError, match="no curve to draw"):
        plots.curves(alone, "uniform")
