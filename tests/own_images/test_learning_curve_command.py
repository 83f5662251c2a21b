"""How many pictures are needed: of a folder or a classifier, as a table, a sentence and a picture."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from own_folders import CLASSES
from PIL import Image
from sample_figures import HOSTILE, drawn, require_no_collision, words

from mtl.config import Head
from mtl.errors import UserError
from mtl.own_images import learning_curve_command as stage
from mtl.own_images.fit import ClassifierSource, fit_new
from mtl.own_images.learning_curve import Forecast, LearningCurve, forecast, forecast_sentence, shots_up_to
from mtl.own_images.learning_curve import measure_curve as measure
from mtl.own_images.learning_curve_command import draw_curve, learning_curve
from mtl.own_images.published import embedder_of
from mtl.own_images.read_support import read_support
from mtl.report.figures import style as ink

OUT, THINGS = Path("curve.png"), Path("things")


@pytest.fixture
def home(home):
    """With five support pictures of each class."""
    for name in CLASSES:
        for number in (3, 4):
            shutil.move(f"new/{name} {number}.png", f"things/{name}/{number}.png")
    return home


@pytest.fixture
def curve_refused(refused):
    return lambda run, support=THINGS, out=OUT, **given: refused(
        learning_curve, ClassifierSource(run, support), out, **given
    )


def test_a_folder_and_the_classifier_fitted_to_it_have_one_curve(home, whole_run, capsys):
    learning_curve(ClassifierSource(whole_run.path, THINGS), OUT)
    of_folder = capsys.readouterr()
    assert of_folder.err == ""
    with Image.open(OUT) as image:
        image.load()
        assert image.format == "PNG"
    curve = measure(
        embedder_of(whole_run.path).base_learner,
        read_support(THINGS, embedder_of(whole_run.path)).support,
    )
    lines = [line.rstrip() for line in of_folder.out.splitlines()]
    assert lines[0] == "Accuracy on left-out pictures, 3 classes"
    assert lines[-2:] == [forecast_sentence(curve, forecast(curve)), "Picture: curve.png"]
    for point in curve.points():
        (row,) = (line for line in lines if line.startswith(f"│ {point.shot:>16} │"))
        worst = CLASSES[point.worst]
        wanted = (100 * point.accuracy, 100 * point.low, 100 * point.high, 100 * point.recalls[point.worst])
        accuracy, low, high, share = (f"{value:.0f}" for value in wanted)
        cells = [cell.strip() for cell in row.strip("│").split("│")]
        assert cells == [f"{point.shot}", f"{accuracy} %", f"{low} to {high} %", worst, f"{share} %"]
    assert sum("~" in line for line in lines) == 3  # 5 and 10 pictures, and what the sign means

    fit_new(ClassifierSource(whole_run.path, THINGS), Path("things.fewshot"))
    shutil.rmtree("things")
    capsys.readouterr()
    learning_curve(ClassifierSource(classifier=Path("things.fewshot")), Path("other.png"))
    assert capsys.readouterr().out == of_folder.out.replace("curve.png", "other.png")
    assert Path("other.png").read_bytes() == OUT.read_bytes()


def test_classes_with_too_few_pictures_are_left_out_and_named(home, whole_run, capsys):
    for number in range(1, 5):
        Path(f"things/elm/{number}.png").unlink()
    Path("things/oak/4.png").write_bytes(b"")
    learning_curve(ClassifierSource(whole_run.path, THINGS), OUT)
    said = capsys.readouterr()
    assert said.out.startswith("Accuracy on left-out pictures, 2 classes ")
    assert said.err.splitlines() == [
        "left out: things/oak/4.png: is not a readable image (the file is empty)",
        "left out: elm: has 1 picture, too few for a curve of classes with 4 or more",
    ]


def test_few_pictures_have_no_law(home, whole_run, capsys):
    for name in CLASSES:
        for number in (2, 3, 4):
            Path(f"things/{name}/{number}.png").unlink()
    learning_curve(ClassifierSource(whole_run.path, THINGS), OUT)
    said = capsys.readouterr().out
    assert "~" not in said
    assert "With 1 picture of each class " in said
    assert OUT.exists()


def test_where_no_two_classes_have_two_pictures_nothing_is_measured(curve_refused, whole_run):
    for name in CLASSES[:2]:
        for number in range(1, 5):
            Path(f"things/{name}/{number}.png").unlink()
    told = curve_refused(whole_run.path)
    assert told.startswith("things: a learning curve needs two classes of two pictures or more")
    assert told.endswith("there are ash 1, elm 1, oak 5")
    shutil.rmtree("things/ash")
    shutil.rmtree("things/elm")
    assert curve_refused(whole_run.path).startswith(
        "things: 2 classes with pictures that can be read are needed, there is only oak"
    )


def test_a_learned_start_serves_one_number_of_classes(curve_refused, whole_run, monkeypatch):
    plain = embedder_of(whole_run.path)
    learned = replace(plain, origin=replace(plain.origin, head=Head(init="learned"), way=4))
    monkeypatch.setattr(stage, "embedder_of", lambda *_: learned)
    told = curve_refused(whole_run.path)
    assert (
        "has a learned start (meta.head.init = learned), which serves exactly 4 classes, and here are 3"
        in told
    )


def test_a_picture_is_refused_before_the_work_where_it_cannot_be_written(
    curve_refused, whole_run, monkeypatch
):
    monkeypatch.setattr(stage, "embedder_of", lambda *_: pytest.fail("work was begun"))
    run = whole_run.path
    assert curve_refused(run, out=Path("curve.svg")) == "curve.svg: must end in .png"
    assert "the folder nowhere does not exist" in curve_refused(run, out=Path("nowhere/a.png"))
    assert curve_refused(run, Path("thing")) == ("thing: there is no such folder; did you mean things?")
    OUT.write_bytes(b"mine")
    assert (
        curve_refused(run) == "curve.png: is there already; --overwrite replaces it, --out writes elsewhere"
    )
    asked = curve_refused(run, out=Path("things/ash/0.png"), overwrite=True)
    assert asked == "things/ash/0.png: is one of the pictures that are read; --out writes elsewhere"


def test_a_picture_is_replaced_whole_or_not_at_all(home, whole_run, monkeypatch, capsys):
    OUT.write_bytes(b"mine")

    def fail(self, target, **how):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Figure, "savefig", fail)
        with pytest.raises(UserError, match=r"curve\.png: the picture cannot be written \(No space left"):
            learning_curve(ClassifierSource(whole_run.path, THINGS), OUT, overwrite=True)
    assert OUT.read_bytes() == b"mine"
    assert capsys.readouterr().out == ""
    learning_curve(ClassifierSource(whole_run.path, THINGS), OUT, overwrite=True)
    assert OUT.read_bytes().startswith(b"\x89PNG")


def test_names_of_classes_are_text_on_one_line(home, whole_run, capsys):
    names = "[bold]x", "two\nlines"
    for old, new in zip(CLASSES[:2], names, strict=True):
        Path("things", old).rename(Path("things", new))
    for number in (0, 1):  # pictures change places, so that these two are the worst
        one, other = (Path("things", name, f"{number}.png") for name in names)
        pixels = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(pixels)
    learning_curve(ClassifierSource(whole_run.path, THINGS), OUT)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│") and "~" not in line]
    shown = {row.split("│")[4].strip() for row in rows}
    assert shown
    assert shown <= {"[bold]x", "two�lines"}


@pytest.mark.parametrize(
    "given", [(), (Path("run"),), (None, THINGS), (None, THINGS, Path("c")), (Path("a"),) * 3]
)
def test_a_source_is_needed(given):
    with pytest.raises(ValueError, match="a network and a support folder are needed, or a classifier"):
        ClassifierSource(*given)


def made_up(
    images: int = 10, classes=("ash", "elm", "oak"), worst: int = 1, more: float = 0.1, **how
) -> LearningCurve:
    """Answers that get better with k; one class is worse than the others."""
    shots = shots_up_to(images - 1)
    labels = torch.arange(len(classes)).repeat_interleave(images)
    share = 0.4 + more * torch.tensor(shots).double().sqrt()[:, None] - 0.25 * (labels == worst)
    spread = (0.1,) * len(shots)
    return LearningCurve(tuple(classes), labels, shots, share.clamp(0, 1), spread, how.get("too_few", ()))


def test_points_are_the_accuracies_and_the_worst_class_has_its_own_line():
    curve = made_up()
    points = curve.points()
    axes = draw_curve(curve, None).axes[0]
    assert drawn(axes, ink.BLUE, marker="o")[0] == pytest.approx(
        np.array([(p.shot, 100 * p.accuracy) for p in points])
    )
    assert drawn(axes, ink.VERMILION, marker="s", linestyle=":")[0] == pytest.approx(
        np.array([(p.shot, 100 * p.recalls[1]) for p in points])
    )
    assert axes.get_xscale() == "log"
    (band,) = (c for c in axes.collections if isinstance(c, PolyCollection))
    corners = band.get_paths()[0].vertices
    for p in points:
        heights = corners[np.isclose(corners[:, 0], p.shot), 1]
        assert (heights.min(), heights.max()) == pytest.approx((100 * p.low, 100 * p.high))


def test_what_is_expected_is_dashed_up_to_twice_the_images():
    curve = made_up()
    law = forecast(curve)
    axes = draw_curve(curve, law).axes[0]
    (dashed,) = drawn(axes, ink.BLUE, linestyle="--")
    assert (dashed[0, 0], dashed[-1, 0]) == (1, 20)
    assert dashed[:, 1] == pytest.approx([100 * law.at(int(k)).accuracy for k in dashed[:, 0]])
    band = axes.collections[1].get_paths()[0].vertices
    assert (band[:, 0].min(), band[:, 0].max()) == (9, 20)
    ends = band[np.isclose(band[:, 0], 20), 1]
    assert (ends.min(), ends.max()) == pytest.approx((100 * law.at(20).low, 100 * law.at(20).high))
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "3", "5", "9", "20"]


def test_the_picture_says_what_it_comes_to():
    curve, law = made_up(too_few=(("yew", 1),)), Forecast(3, 2.0, 30.0)
    found = [text.replace("\n", " ") for text in words(draw_curve(curve, law))]
    assert forecast_sentence(curve, law) in found
    assert f"{100 * law.at(20).accuracy:.0f}  all classes" in found
    assert f"{100 * curve.points()[-1].recalls[1]:.0f}  worst: elm" in found
    assert any("Dashed: law" in x and "3 classes, and 1 left out with too few pictures." in x for x in found)
    assert "Dashed" not in " ".join(words(draw_curve(curve, None)))


@pytest.mark.parametrize("images", [2, 3, 5, 10, 40, 600])
@pytest.mark.parametrize("more", [-0.1, 0.02, 0.6])
def test_nothing_is_drawn_over_anything_else(images, more):
    curve = made_up(images, more=more)
    require_no_collision(draw_curve(curve, forecast(curve)))


@pytest.mark.parametrize("name", [*HOSTILE, "W" * 60, "two\nlines"])
def test_a_class_may_have_any_name(name):
    curve = made_up(classes=("", name, "~") if name < "~" else ("", "!", name), worst=1 if name < "~" else 2)
    figure = draw_curve(curve, forecast(curve))
    require_no_collision(figure)
    assert any("worst: " in found for found in words(figure))


def test_one_point_has_its_interval():
    curve = made_up(2)
    (point,) = curve.points()
    bar = drawn(draw_curve(curve, forecast(curve)).axes[0], ink.BLUE, alpha=0.3)
    assert bar[0] == pytest.approx(np.array([(1, 100 * point.low), (1, 100 * point.high)]))
