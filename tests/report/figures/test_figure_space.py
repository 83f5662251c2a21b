"""Images in two dimensions: each where it lies, each class with a look of its own."""

import numpy as np
import pytest
from sample_figures import require_no_collision

from mtl.report.drawings import to_svg
from mtl.report.figures.space import FeatureSpace, feature_space

LABELS = np.array([0, 1, 2, 0, 1, 2, 0])
BEFORE, AFTER = (np.random.default_rng(seed).random((7, 2)) for seed in range(2))


def drawn(before, after, labels, names):
    return feature_space(FeatureSpace(before, after, labels, tuple(names)))


def look(line) -> tuple[str, str]:
    return line.get_color(), line.get_marker()


def panels(figure) -> list:
    """Those with points, not that of a key."""
    return [axes for axes in figure.axes if axes.axison]


def keys(figure) -> dict:
    """By name, the look that stands before it."""
    found = {}
    for axes in figure.axes:
        if not axes.axison:
            found |= {t.get_text(): look(line) for t, line in zip(axes.texts, axes.lines, strict=True)}
    return found


def test_points_lie_where_they_are_and_look_as_the_key_says():
    names = ["dogs", "$x_1$", "<b>"]
    figure = drawn(BEFORE, AFTER, LABELS, names)
    assert list(keys(figure)) == names
    for axes, layout, title in zip(panels(figure), (BEFORE, AFTER), ("before", "after"), strict=True):
        assert [t.get_text() for t in axes.texts] == [title]
        for number, name in enumerate(names):
            (line,) = (x for x in axes.lines if look(x) == keys(figure)[name])
            assert np.asarray(line.get_xydata()) == pytest.approx(layout[number == LABELS])
        assert axes.get_aspect() == 1
    require_no_collision(figure)


def test_one_layout_is_one_panel():
    figure = drawn(BEFORE, None, LABELS, ["a", "b", "c"])
    (axes,) = panels(figure)
    assert not axes.texts
    require_no_collision(figure)


def test_twelve_classes_look_different():
    labels = np.arange(24) % 12
    figure = drawn(np.ones((24, 2)), np.ones((24, 2)), labels, [f"{'long ' * 9}{i}" for i in range(12)])
    assert len(set(keys(figure).values())) == 12
    require_no_collision(figure)


def test_many_images_are_a_picture():
    many = np.random.default_rng(0).random((3000, 2))
    svg = to_svg(drawn(many, None, np.zeros(3000, dtype=int), ["a"]), "a")
    assert "data:image/png" in svg
    assert len(svg) < 150_000


@pytest.mark.parametrize("count", [0, 13])
def test_classes_that_cannot_be_distinguished_are_refused(count):
    with pytest.raises(ValueError, match=f"{count} classes cannot be distinguished; 1 to 12 can"):
        drawn(BEFORE, None, LABELS, [str(i) for i in range(count)])
