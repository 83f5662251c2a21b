"""The heat map: every probability in its cell, grey where nothing met, names that can be read."""

import numpy as np
import pytest
from matplotlib.patches import PathPatch
from sample_figures import require_no_collision, words

from mtl.ledger.confusions import Confusions
from mtl.report.drawings import to_svg
from mtl.report.figures.confusion import heat_map


def made(n: int, name: str = "name", by_group: bool = False, left_out: int = 0) -> Confusions:
    matrix = np.random.default_rng(n).random((n, n)) * 0.4
    if not by_group:
        np.fill_diagonal(matrix, np.nan)
    return Confusions(tuple(f"{name} {i}" for i in range(n)), by_group, matrix, left_out)


def test_cells_hold_the_probabilities_in_percent():
    found = made(5)
    axes = heat_map(found).axes[0]
    shown = np.ma.filled(axes.images[0].get_array().astype(float), np.nan)
    assert shown == pytest.approx(100 * found.matrix, nan_ok=True)
    assert list(axes.images[0].get_extent()) == [-0.5, 4.5, 4.5, -0.5]  # row 0 is on top
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [t.get_text() for t in labels] == list(found.names)


def test_few_rows_have_numbers_and_many_have_none():
    found = made(3)
    numbers = {t.get_position(): t.get_text() for t in heat_map(found).axes[0].texts if t.get_text()}
    cells = [(i, j) for i in range(3) for j in range(3) if i != j]
    assert numbers == {(j, i): f"{100 * found.matrix[i, j]:.0f}" for i, j in cells}
    assert not heat_map(made(15)).axes[0].texts


def test_what_never_met_is_grey_and_the_diagonal_is_not():
    found = made(4)
    found.matrix[0, 2] = found.matrix[3, 1] = np.nan
    figure = heat_map(found)
    (grey,) = (p for p in figure.axes[0].patches if isinstance(p, PathPatch))
    cells = grey.get_path().vertices.reshape(-1, 5, 2)[:, :4].mean(1)
    assert {tuple(cell) for cell in cells} == {(2, 0), (1, 3)}  # x is the column
    assert "never met" in words(figure)
    assert "never met" not in words(heat_map(made(4)))


def test_the_title_says_what_rows_are_and_a_line_what_is_left_out():
    figure = heat_map(made(3, by_group=True, left_out=1234))
    assert "Probability that queries of the row's group get for the column's" in words(figure)
    assert "1,234 other classes not shown" in words(figure)
    assert "1 other class not shown" in words(heat_map(made(3, left_out=1)))
    assert np.ma.count(figure.axes[0].images[0].get_array()) == 9  # groups have a diagonal


@pytest.mark.parametrize("n", [1, 3, 14, 40])
@pytest.mark.parametrize("name", ["W" * 30, "i"])
def test_names_can_be_read(n, name):
    figure = heat_map(made(n, name, left_out=3))
    assert min(t.get_fontsize() for t in figure.axes[0].get_yticklabels()) >= 9
    assert figure.get_size_inches()[0] < 7.6
    require_no_collision(figure)


def test_the_colour_bar_ends_at_the_most():
    found = made(4)
    axes, bar = heat_map(found).axes
    labels = [t.get_text() for t in bar.get_xticklabels()]
    assert (labels[0], labels[2]) == ("0", f"{100 * np.nanmax(found.matrix):.0f} %")
    assert float(axes.images[0].norm(float(labels[1]))) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_matrix_of_nothing_can_be_drawn(value):
    figure = heat_map(Confusions(("a", "b", "c"), False, np.full((3, 3), value), 0))
    assert "nan" not in to_svg(figure, "a")
    require_no_collision(figure)


@pytest.mark.parametrize(("names", "shape"), [((), (0, 0)), (("a", "b"), (3, 3)), (("a",), (1, 2))])
def test_a_matrix_that_does_not_fit_is_refused(names, shape):
    with pytest.raises(ValueError, match="does not fit"):
        heat_map(Confusions(names, False, np.zeros(shape), 0))
