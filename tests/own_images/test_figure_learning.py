"""A learning curve as a picture: measurements where they are, what is only expected dashed, and readable."""

import numpy as np
import pytest
import torch
from matplotlib.collections import PolyCollection
from PIL import Image
from sample_figures import HOSTILE, require_no_collision

from mtl.own_images.forecast import Forecast, forecast, told
from mtl.own_images.learning_curve import LearningCurve, shots_up_to
from mtl.own_images.learning_curve_figure import learning
from mtl.report.figures import style as ink
from mtl.runtime.figure_files import save_png


def made_up(
    images: int = 10, classes=("ash", "elm", "oak"), worst: int = 1, more: float = 0.1, **how
) -> LearningCurve:
    """Answers that get better with k; one class is worse than the others."""
    shots = shots_up_to(images - 1)
    labels = torch.arange(len(classes)).repeat_interleave(images)
    share = 0.4 + more * torch.tensor(shots).double().sqrt()[:, None] - 0.25 * (labels == worst)
    spread = (0.1,) * len(shots)
    return LearningCurve(tuple(classes), labels, shots, share.clamp(0, 1), spread, how.get("too_few", ()))


def lines(axes, colour: str) -> list:
    """Those of a colour, without the leads to names."""
    return [x for x in axes.lines if x.get_color() == colour and x.get_transform() == axes.transData]


def words(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_points_are_the_accuracies_and_the_worst_class_has_its_own_line():
    curve = made_up()
    points = curve.points()
    axes = learning(curve, None).axes[0]
    (measured,) = lines(axes, ink.BLUE)
    assert measured.get_xydata() == pytest.approx(np.array([(p.shot, 100 * p.accuracy) for p in points]))
    assert (measured.get_marker(), measured.get_linestyle()) == ("o", "-")
    (worst,) = lines(axes, ink.VERMILION)
    assert worst.get_xydata() == pytest.approx(np.array([(p.shot, 100 * p.recalls[1]) for p in points]))
    assert (worst.get_marker(), worst.get_linestyle()) == ("s", ":")  # told apart without colour
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "pictures of each class"
    (band,) = (c for c in axes.collections if isinstance(c, PolyCollection))
    corners = band.get_paths()[0].vertices
    for p in points:
        heights = corners[np.isclose(corners[:, 0], p.shot), 1]
        assert (heights.min(), heights.max()) == pytest.approx((100 * p.low, 100 * p.high))


def test_what_is_expected_is_dashed_up_to_twice_the_images():
    curve = made_up()
    law = forecast(curve)
    figure = learning(curve, law)
    axes = figure.axes[0]
    measured, faint, dashed, ring = sorted(lines(axes, ink.BLUE), key=lambda x: x.get_xdata()[-1])[:4]
    assert {x.get_linestyle() for x in (faint, dashed)} == {"--"}
    for line, first, last in ((faint, 1, 9), (dashed, 9, 20)):
        found = np.asarray(line.get_xydata())
        assert (found[0, 0], found[-1, 0]) == (first, last)
        assert found[:, 1] == pytest.approx([100 * law.at(int(k)).accuracy for k in found[:, 0]])
    assert ring.get_xydata().tolist() == [[20, pytest.approx(100 * law.at(20).accuracy)]]
    assert measured.get_xdata()[-1] == 9
    band = axes.collections[1].get_paths()[0].vertices
    assert (band[:, 0].min(), band[:, 0].max()) == (9, 20)
    ends = band[np.isclose(band[:, 0], 20), 1]
    assert (ends.min(), ends.max()) == pytest.approx((100 * law.at(20).low, 100 * law.at(20).high))
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "3", "5", "9", "20"]


def test_the_picture_says_what_it_comes_to():
    curve, law = made_up(too_few=(("yew", 1),)), Forecast(3, 2.0, 30.0)
    found = words(learning(curve, law))
    assert found[0] == "right answers (%)"
    assert f"{100 * law.at(20).accuracy:.0f}  all classes" in found
    assert f"{100 * curve.points()[-1].recalls[1]:.0f}  worst: elm" in found
    assert " ".join(found).count(told(curve, law).split("; ")[0]) == 1
    notes = " ".join(reversed(found[-2:]))
    assert notes == (
        "Points: asked of left-out pictures. Shade: 95 % interval. Dashed: law that fits best. "
        "3 classes, and 1 left out with too few pictures."
    )
    assert "Dashed" not in " ".join(words(learning(curve, None)))


@pytest.mark.parametrize("images", [2, 3, 5, 10, 40, 600])
@pytest.mark.parametrize("more", [-0.1, 0.02, 0.6])
def test_nothing_lies_over_anything_else(images, more):
    curve = made_up(images, more=more)
    require_no_collision(learning(curve, forecast(curve)))


@pytest.mark.parametrize("name", [*HOSTILE, "W" * 60, "two\nlines"])
@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_a_class_may_have_any_name(name):
    curve = made_up(classes=("", name, "~") if name < "~" else ("", "!", name), worst=1 if name < "~" else 2)
    figure = learning(curve, forecast(curve))
    require_no_collision(figure)
    assert any("worst: " in found for found in words(figure))


def test_one_point_has_its_interval(tmp_path):
    curve = made_up(2)
    (point,) = curve.points()
    figure = learning(curve, forecast(curve))
    bar = next(x for x in lines(figure.axes[0], ink.BLUE) if len(x.get_xdata()) == 2)
    assert bar.get_xydata() == pytest.approx(np.array([(1, 100 * point.low), (1, 100 * point.high)]))
    save_png(figure, tmp_path / "a.png", facecolor="white")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == round(150 * ink.WIDTH)
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
