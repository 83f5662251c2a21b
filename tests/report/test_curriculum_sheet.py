"""The sheet of a curriculum: lines, map and images are those of the record, and nothing hides another."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mtl.report import curriculum_stats as admission
from mtl.report.curriculum_sheet import MARK, pixels, sheet
from mtl.runtime.figure_files import save_png
from mtl.runtime.seeds import generator
from mtl.training.curriculum import UNMET, Curriculum

pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing")  # `save_png` sees to it
SIZES = (60, 30, 30, 10, 6, 4)


def make(epochs: int = 12, wrong: float = 0.3, soft: bool = True, unequal: bool = True, names=None):
    """A record and its images: harder images enter later, mislabelled ones last, and some never."""
    random = generator(0, "curriculum of a test")
    sizes = SIZES if unequal else (20,) * 6
    labels = torch.arange(6).repeat_interleave(torch.tensor(sizes))
    mislabelled = torch.rand(len(labels), generator=random) < wrong
    hardness = torch.rand(len(labels), generator=random) + 0.5 * mislabelled
    pace = 0.2 + 1.2 * torch.arange(epochs)[:, None] / epochs
    weights = (1 - hardness / pace).clamp(0, 1)
    weights = (100 * (weights if soft else (weights > 0))).ceil().to(torch.int8)
    weights[torch.rand(weights.shape, generator=random) < 0.1] = UNMET
    images = torch.randint(0, 256, (len(labels) + 5, 3, 16, 16), generator=random, dtype=torch.uint8)
    names = names or tuple(f"class {i}" for i in range(6))
    rows = torch.randperm(len(images), generator=random)[: len(labels)].sort().values
    return Curriculum(rows, labels, mislabelled, weights, names), images


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def panel(figure: Figure, title: str):
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_xydata()) for line in axes.lines}


def strip_axes(figure: Figure) -> list:
    return [axes for axes in figure.axes if len(axes.images) > 1 or (axes.images and axes.patches)]


def test_lines_are_the_shares_of_all_and_of_groups():
    curriculum, images = make()
    figure = sheet(curriculum, images, "a run", 0)
    found = lines(panel(figure, "Share of the images met that count")) | lines(panel(figure, "By images"))
    weights, epochs = curriculum.weights, len(curriculum.weights)
    groups = admission.by_label(curriculum) | admission.by_class_size(curriculum)
    assert list(found) == ["all", "mean v", "right labels", "wrong labels", "many", "medium", "few"]
    expected = {name: admission.pace(weights, own).share for name, own in groups.items()}
    expected |= {"all": admission.pace(weights).share, "mean v": admission.pace(weights).weight}
    for name, xy in found.items():
        assert xy[:, 0].tolist() == list(range(1, epochs + 1))
        assert np.allclose(xy[:, 1], 100 * expected[name].numpy())
    assert (found["right labels"][6:, 1] > found["wrong labels"][6:, 1]).all()


def test_a_line_that_would_hide_another_is_left_out():
    curriculum, images = make(wrong=0.0, soft=False, unequal=False)
    figure = sheet(curriculum, images, "a run", 0)
    assert list(lines(panel(figure, "Share"))) == ["all"]
    assert not [axes for axes in figure.axes if axes.get_title(loc="left").startswith("By images")]


def test_the_map_holds_every_image_in_order_and_the_wrong_labels_beside_it():
    curriculum, images = make()
    figure = sheet(curriculum, images, "a run", 0)
    shown = panel(figure, "Every image").images[0]
    order = admission.in_order(curriculum.weights)
    expected = np.where(curriculum.weights.T[order] == UNMET, np.nan, curriculum.weights.T[order] / 100.0)
    array = np.ma.filled(shown.get_array(), np.nan)
    assert np.allclose(array, expected, equal_nan=True)  # so few images: a row each
    assert shown.get_extent() == [0.5, len(curriculum.weights) + 0.5, 0, 100]
    assert shown.origin == "lower"  # the first to count at the bottom, so that the edge rises like the share
    assert shown.get_clim() == (0, 1)
    beside = next(axes for axes in figure.axes if axes.get_xlabel().startswith("wrong"))
    heights = beside.patches[0].get_data()
    bins = np.array_split(curriculum.mislabelled[order].numpy(), len(heights.values))
    assert np.allclose(heights.values, [100 * own.mean() for own in bins])
    assert np.allclose(heights.edges[[0, -1]], [0, 100])


def test_strips_show_the_images_of_the_record_over_their_names_and_mark_wrong_labels():
    curriculum, images = make(wrong=0.4)
    figure = sheet(curriculum, images, "a run", 3)
    expected = admission.strips(curriculum.weights, 14, 3)
    assert [strip.name for strip in expected] == ["First", "Midway", "Last", "Never"]
    rows = strip_axes(figure)
    assert len(rows) == 4
    marks = 0
    for axes, strip in zip(rows, expected, strict=True):
        places = strip.shown.tolist()
        for picture, patch, name, place in zip(axes.images, axes.patches, axes.texts, places, strict=True):
            image = images[curriculum.images[place]]
            assert np.array_equal(picture.get_array(), image.permute(1, 2, 0).numpy() / np.float32(255))
            assert name.get_text() == curriculum.class_names[int(curriculum.labels[place])]
            wrong = bool(curriculum.mislabelled[place])
            assert (patch.get_edgecolor() == to_rgba(MARK)) == wrong
            assert (name.get_color() == MARK) == wrong
            marks += wrong
    assert 0 < marks < sum(len(strip.shown) for strip in expected)
    assert (curriculum.images != torch.arange(len(curriculum.images))).any()  # places are not images


def test_what_is_told_of_a_strip_is_of_all_its_images():
    weights = torch.tensor([[100, 100, 0, 0, 0], [100, 100, 100, 0, 0]], dtype=torch.int8)
    wrong = torch.tensor([False, True, False, True, True])
    curriculum = Curriculum(torch.arange(5), torch.zeros(5, dtype=torch.int64), wrong, weights, ("one",))
    images = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    told = [t.get_text() for t in sheet(curriculum, images, "a run", 0).texts]
    assert told == [
        "a run",
        "First",
        "counted first in epoch 1: 2 images, 50 % of them mislabelled (framed)",
        "Last",
        "counted first in epoch 2: 1 image, 0 % of them mislabelled (framed)",
        "Never",
        "counted in no epoch: 2 images, 100 % of them mislabelled (framed)",
    ]


NAMES = {
    "plain": None,
    "any": (
        "$x_1$ of $y",
        "a\nb\tc",
        "W" * 60,
        "a rather long name of a class, with words",
        "漢 字",
        "z" * 99,
    ),
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("epochs", [1, 120])
def test_no_text_lies_over_another_or_beyond_the_sheet(names, epochs):
    figure = drawn(sheet(*make(epochs, names=NAMES[names]), "a run", 0))
    width, height = figure.get_size_inches() * figure.dpi
    hidden = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        outside = [t for t in axis.get_major_ticks() if not low <= t.get_loc() <= high]
        shown = axis.axes.axison and axis.get_visible()
        hidden |= {t.label1 for t in (outside if shown else axis.get_major_ticks())}
    boxes = {}
    for found in figure.findobj(Text):
        if found.get_visible() and found.get_text().strip() and found not in hidden:
            box = found.get_window_extent().extents
            if found.get_clip_on() and found.get_clip_box() is not None:
                clip = found.get_clip_box().extents
                box = np.concatenate([np.maximum(box[:2], clip[:2]), np.minimum(box[2:], clip[2:])])
            boxes[found] = box
    assert len(boxes) > 30
    for one, (left, bottom, right, top) in boxes.items():
        assert left >= 0 and bottom >= 0 and right <= width and top <= height, one.get_text()  # noqa: PT018
        for other, (l2, b2, r2, t2) in boxes.items():
            apart = right <= l2 + 1 or r2 <= left + 1 or top <= b2 + 1 or t2 <= bottom + 1
            assert one is other or apart, (one.get_text(), other.get_text())


def test_the_sheet_is_a_picture_on_light_paper(tmp_path):
    curriculum, images = make(3, names=NAMES["any"])  # letters that no font has are no warning
    path = tmp_path / "new" / "a.png"
    save_png(sheet(curriculum, images[:, :1], "a run", 0), path)
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width > 1500
        assert np.asarray(image.convert("RGB"))[0].min() == 255  # light paper


def test_pixels_are_grey_or_of_colour():
    grey = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    assert torch.allclose(pixels(grey)[..., 2], torch.tensor([[0, 1], [0.2, 0.4]]))
    colour = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    assert torch.allclose(pixels(colour)[0, 1] * 255, torch.tensor([1.0, 5.0, 9.0]))
