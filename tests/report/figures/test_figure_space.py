"""Images in two dimensions: each where it belongs, each class with a look that the legend names."""

import numpy as np
import pytest
from sample_figures import require_no_collision

from mtl.report.drawings import to_svg
from mtl.report.figures.space import FeatureSpace, feature_space

LABELS = np.array([0, 1, 2, 0, 1, 2, 0])
BEFORE, AFTER = (np.random.default_rng(seed).random((7, 2)) for seed in range(2))


def legend(figure) -> dict:
    """By name, colour and marker."""
    (found,) = figure.legends
    looks = [(line.get_color(), line.get_marker()) for line in found.legend_handles]
    return dict(zip([t.get_text() for t in found.texts], looks, strict=True))


@pytest.mark.parametrize("after", [AFTER, None])
def test_points_are_where_they_are_and_look_as_the_legend_says(after):
    names = ("dogs", "$x_1$", "<b>")
    figure = feature_space(FeatureSpace(BEFORE, after, LABELS, names))
    assert tuple(legend(figure)) == names
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ([""] if after is None else ["before", "after"])
    for axes, layout in zip(figure.axes, (BEFORE, after), strict=False):
        for number, name in enumerate(names):
            (line,) = (x for x in axes.lines if (x.get_color(), x.get_marker()) == legend(figure)[name])
            assert np.asarray(line.get_xydata()) == pytest.approx(layout[number == LABELS])
        assert axes.get_aspect() == 1
    require_no_collision(figure)


def test_twelve_classes_look_different():
    labels, names = np.arange(24) % 12, tuple(f"{'long ' * 9}{i}" for i in range(12))
    figure = feature_space(FeatureSpace(np.ones((24, 2)), np.ones((24, 2)), labels, names))
    assert len(set(legend(figure).values())) == 12
    require_no_collision(figure)


def test_many_images_are_a_picture():
    many = np.random.default_rng(0).random((3000, 2))
    svg = to_svg(feature_space(FeatureSpace(many, None, np.zeros(3000, dtype=int), ("a",))), "a")
    assert "data:image/png" in svg
    assert len(svg) < 150_000


@pytest.mark.parametrize("count", [0, 13])
def test_classes_that_cannot_be_distinguished_are_refused(count):
    with pytest.raises(ValueError, match=f"{count} classes cannot be distinguished; 1 to 12 can"):
        feature_space(FeatureSpace(BEFORE, None, LABELS, tuple(str(i) for i in range(count))))
