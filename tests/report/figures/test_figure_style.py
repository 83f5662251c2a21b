"""What figures have in common: SVG that stands in a page, colours, names that fit, files that are whole."""

import itertools
import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from PIL import Image
from sample_figures import HOSTILE, MAKERS, NAMED, draw, made, require_no_collision, svg_of

from mtl.ledger.class_history import Share
from mtl.report.drawings import save, to_svg
from mtl.report.figures import style as ink
from mtl.report.figures.round_weights import draw_shares

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"


def declared(element: ElementTree.Element) -> dict[str, str]:
    style = element.get("style", "")
    return dict(part.split(": ", 1) for part in style.split("; ")) if style else {}


def require_fit_for_a_page(svg: str) -> None:
    """Fails unless the SVG can be in any page beside others, in light and in dark."""
    assert svg.startswith("<svg ")
    root = ElementTree.fromstring(svg)
    tags = {e.tag.removeprefix(SVG) for e in root.iter()}
    assert tags <= {"svg", "g", "defs", "path", "use", "text", "tspan", "clipPath", "rect", "image"}
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert len(set(ids)) == len(ids)
    for element in root.iter():
        for value in element.attrib.values():
            assert set(re.findall(r"url\(#([^)]*)\)", value)) <= set(ids)
            assert "://" not in value
        href = element.get(f"{XLINK}href", "data:image/png;base64,")
        assert href.startswith("data:image/png;base64,") or href[1:] in ids
        style = declared(element)
        colours = {style[name] for name in ("fill", "stroke") if name in style}
        assert colours <= {"none", "currentColor", "var(--line)", *ink.PALETTE}
        if element.tag == f"{SVG}text":
            assert style["fill"] == "currentColor"
            assert float(style["font-size"].removesuffix("px")) >= 9


@pytest.mark.parametrize("kind", MAKERS)
def test_a_figure_can_be_in_a_page(kind):
    require_fit_for_a_page(svg_of(kind))
    _, _, width, _ = map(float, ElementTree.fromstring(svg_of(kind)).attrib["viewBox"].split())
    assert width <= 7.3 * 72
    assert len(svg_of(kind)) < 200_000


@pytest.mark.parametrize("kind", MAKERS)
def test_the_same_numbers_give_the_same_svg(kind):
    figure = MAKERS[kind]()
    draw(figure)  # which leaves no trace
    assert to_svg(figure, kind) == svg_of(kind)
    assert not re.search(r"date|20\d\d-\d\d", svg_of(kind))


def test_figures_have_no_id_in_common():
    found = {kind: set(re.findall(r' id="([^"]*)"', svg_of(kind))) for kind in MAKERS}
    assert all(found.values())
    for one, other in itertools.combinations(found.values(), 2):
        assert not one & other
    again = set(re.findall(r' id="([^"]*)"', to_svg(made("draw_share"), "another salt")))
    assert len(again) == len(found["draw_share"])
    assert not again & found["draw_share"]


@pytest.mark.parametrize("kind", NAMED)
def test_names_are_text_as_they_are(kind):
    words = [e.text for e in ElementTree.fromstring(svg_of(kind)).iter(f"{SVG}text")]
    for name in HOSTILE:
        assert any(text.endswith(name) for text in words), name


def test_letters_that_xml_has_not_are_replaced(tmp_path):
    figure = draw_shares([Share("a\x00\x1b\ud800\uffffz", 1, 1, 1.0)])
    assert ">a����z</text>" in to_svg(figure, "a")
    save(figure, tmp_path / "a")
    ElementTree.parse(tmp_path / "a.svg")


@pytest.mark.parametrize("kind", MAKERS)
def test_no_text_lies_over_another_or_beyond_the_figure(kind):
    require_no_collision(made(kind))


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    to_svg(made("draw_share"), "a")
    assert dict(matplotlib.rcParams) == before


def test_ink_follows_the_page_and_other_colours_stay():
    styles = [declared(e) for e in ElementTree.fromstring(svg_of("changes")).iter()]
    assert {"currentColor", "var(--line)", ink.BLUE} <= {style.get("stroke") for style in styles}
    assert {s.get("stroke-opacity", "1") for s in styles if s.get("stroke") == ink.BLUE} == {"1", "0.5"}
    assert ink.INK not in str(styles)
    assert ink.FAINT not in str(styles)


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def linear(colour: str) -> np.ndarray:
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


#: Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency",
#: 2009: severity 1.0, for linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson, "A perceptual color space for image processing", 2020."""
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    to_lab = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099],
              [0.0259040371, 0.7827717662, -0.808675766]]  # fmt: skip
    return np.array(to_lab) @ np.cbrt(np.array(to_cones) @ rgb)


def nearest(colours: tuple[str, ...], deficiency: str) -> float:
    """The smallest distance of two of the colours, as seen."""
    seen = [oklab(np.clip(np.array(DEFICIENCIES[deficiency]) @ linear(c), 0, 1)) for c in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("paper", ["#ffffff", "#16181d"])
def test_colours_stand_out_on_light_and_on_dark(paper):
    assert all(contrast(colour, paper) >= 3 for colour in ink.PALETTE)
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert min(contrast(c, "#ffffff") for c in ("#e69f00", "#56b4e9", "#f0e442")) < 3  # the usual ones do not


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_are_told_apart_by_all_eyes(deficiency):
    assert nearest(ink.PALETTE, deficiency) > 0.07
    assert nearest((ink.BLUE, ink.VERMILION), deficiency) > 0.15
    assert nearest(("#d62728", "#2ca02c"), "deuteranopia") < 0.07  # a red and a green that are not


@settings(max_examples=30, deadline=None)
@given(name=st.text(max_size=40), inches=st.floats(0.5, 3))
def test_a_fitted_name_is_short_enough_and_begins_and_ends_as_it_did(name, inches):
    line = ink.fitted(name, inches)
    assert len(line) <= 3 or ink.width_of(line) <= inches
    assert line.isprintable()
    if line != name and name.isprintable():
        start, end = line.split("…", 1)
        assert name.startswith(start)
        assert name.endswith(end)


def test_widths_are_those_of_the_letters():
    assert ink.width_of("W" * 10) > 2 * ink.width_of("i" * 10)
    assert ink.width_of("字" * 10, 72) == pytest.approx(10)  # a font has them or not: one em each
    assert ink.fitted("", 1.0) == ""


def test_points_have_a_sign_and_zero_has_none():
    assert [ink.signed(x) for x in (0.0123, -0.0456, 0.00049, -0.00049, 0.0, 1.0)] == [
        "+1.2", "−4.6", "0.0", "0.0", "0.0", "+100.0",
    ]  # fmt: skip


def test_names_at_the_ends_of_lines_lead_to_them_and_keep_apart():
    ends = [
        (10, 0.5, "b", ink.BLUE),
        (10, 0.5, "a", ink.TEAL),
        (8, 0.52, "c", ink.WINE),
        (10, 0.1, "", ink.MOSS),
    ]

    @ink.in_look
    def draw() -> Figure:
        figure = ink.new_figure(2, 5)
        ink.name_ends(figure.add_subplot(xlim=(0, 10), ylim=(0, 1)), ends)
        return figure

    names = {t.get_text(): t for t in draw().axes[0].texts}
    assert set(names) == {"a", "b", "c"}  # a line without a name has no lead
    for x, y, name, colour in ends[:3]:
        assert names[name].xy == (x, y)
        assert names[name].arrow_patch.get_edgecolor() == to_rgba(colour)
    heights = [names[name].xyann[1] for name in "bac"]
    assert heights == sorted(heights)
    require_no_collision(draw())


def test_a_figure_comes_into_two_files_that_are_the_same_each_time(tmp_path):
    stem = tmp_path / "new" / "run.1 5-way"
    figure = made("changes")
    save(figure, stem)
    files = {path.name: path.read_bytes() for path in stem.parent.iterdir()}
    assert set(files) == {"run.1 5-way.png", "run.1 5-way.svg"}
    with Image.open(stem.parent / "run.1 5-way.png") as image:
        width, height = figure.get_size_inches()
        assert image.size == (int(150 * width), int(150 * height))
        assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
        assert len(image.convert("RGB").getcolors(1 << 16)) > 50
    svg = files["run.1 5-way.svg"].decode()
    behind = next(ElementTree.fromstring(svg).iter(f"{SVG}path"))
    assert "fill: #ffffff" in behind.attrib["style"]
    assert ink.INK in svg
    assert "<script>" in [e.text for e in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert "dc:date" not in svg
    save(MAKERS["changes"](), stem)
    assert {path.name: path.read_bytes() for path in stem.parent.iterdir()} == files
