"""The heat map: every probability in its cell, grey where nothing met, names that can be read."""

import numpy as np
import pytest
from matplotlib.patches import PathPatch
from sample_figures import require_no_collision

from mtl.ledger.confusions import Confusions
from mtl.report.drawings import to_svg
from mtl.report.figures.confusion import heat_map


def made(n: int, name: str = "name", by_group: bool = False, left_out: int = 0) -> Confusions:
    matrix = np.random.default_rng(n).random((n, n)) * 0.4
    if not by_group:
        np.fill_diagonal(matrix, np.nan)
    return Confusions(tuple(f"{name} {i}" for i in range(n)), by_group, matrix, left_out)


def image(figure):
    return figure.axes[0].images[0]


def test_cells_hold_the_probabilities_in_percent():
    found = made(5)
    shown = image(heat_map(found))
    assert np.ma.filled(shown.get_array().astype(float), np.nan) == pytest.approx(
        100 * found.matrix, nan_ok=True
    )
    assert list(shown.get_extent()) == [-0.5, 4.5, 4.5, -0.5]  # row 0 is on top, column 0 at the left
    axes = heat_map(found).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(found.names)
    below = {t.get_text(): t.get_position()[0] for t in axes.texts if t.get_rotation() == 90}
    assert below == {name: place for place, name in enumerate(found.names)}


def test_few_rows_have_numbers_and_many_have_none():
    found = made(3)
    numbers = {t.get_position(): t.get_text() for t in heat_map(found).axes[0].texts if t.get_rotation() == 0}
    assert numbers == {
        (j, i): f"{100 * found.matrix[i, j]:.0f}" for i in range(3) for j in range(3) if i != j
    }
    assert not [t for t in heat_map(made(15)).axes[0].texts if t.get_rotation() == 0]


def test_what_never_met_is_grey_and_the_diagonal_is_not():
    found = made(4)
    found.matrix[0, 2] = found.matrix[3, 1] = np.nan
    figure = heat_map(found)
    (grey,) = (p for p in figure.axes[0].patches if isinstance(p, PathPatch))
    cells = grey.get_path().vertices.reshape(-1, 5, 2)[:, :4].mean(1)
    assert {tuple(cell) for cell in cells} == {(2, 0), (1, 3)}  # x is the column
    assert "never met" in {t.get_text() for axes in figure.axes for t in axes.texts}
    met = heat_map(made(4))
    assert not [p for p in met.axes[0].patches if isinstance(p, PathPatch)]
    assert "never met" not in {t.get_text() for axes in met.axes for t in axes.texts}


def test_groups_have_a_diagonal_and_the_title_says_what_rows_are():
    figure = heat_map(made(3, by_group=True))
    assert figure.texts[0].get_text() == "Probability that queries of the row's group get for the column's"
    assert np.ma.count(image(figure).get_array()) == 9
    assert "row's class" in heat_map(made(3)).texts[0].get_text()


@pytest.mark.parametrize(
    ("count", "told"), [(1, "1 other class not shown"), (1234, "1,234 other classes not shown")]
)
def test_classes_left_out_are_told(count, told):
    assert told in [t.get_text() for t in heat_map(made(3, left_out=count)).texts]
    assert len(heat_map(made(3)).texts) == 1


@pytest.mark.parametrize("n", [1, 14, 40])
@pytest.mark.parametrize("name", ["W" * 30, "i"])
def test_names_can_be_read(n, name):
    figure = heat_map(made(n, name))
    assert min(t.get_fontsize() for t in figure.axes[0].get_yticklabels()) >= 9
    assert figure.get_size_inches()[0] < 7.4
    require_no_collision(figure)


def test_the_colour_bar_ends_at_the_most():
    found = made(4)
    bar = heat_map(found).axes[1]
    labels = [t.get_text() for t in bar.get_xticklabels()]
    most = 100 * np.nanmax(found.matrix)
    assert labels[0] == "0"
    assert labels[2] == f"{most:.2g} %"
    shown = image(heat_map(found))
    assert float(shown.norm(float(labels[1]))) == pytest.approx(0.5, abs=0.02)  # what stands in the middle is
    assert (np.diff(bar.images[0].get_array()) > 0).all()
    assert bar.images[0].cmap(np.linspace(0, 1, 9)) == pytest.approx(shown.cmap(np.linspace(0, 1, 9)))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_matrix_of_nothing_can_be_drawn(value):
    figure = heat_map(Confusions(("a", "b", "c"), False, np.full((3, 3), value), 0))
    svg = to_svg(figure, "a")
    assert "nan" not in svg
    require_no_collision(figure)


@pytest.mark.parametrize(("names", "shape"), [((), (0, 0)), (("a", "b"), (3, 3)), (("a",), (1, 2))])
def test_a_matrix_that_does_not_fit_is_refused(names, shape):
    with pytest.raises(ValueError, match="does not fit"):
        heat_map(Confusions(names, False, np.zeros(shape), 0))
