"""How many pictures are needed: of a folder or a classifier, as a table, a sentence and a picture."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from own_folders import CLASSES, lay_out
from PIL import Image

from mtl.config import Head
from mtl.errors import UserError
from mtl.own_images import learning_curve_command as stage
from mtl.own_images.embedder import embedder_of_run
from mtl.own_images.fit import fit_new
from mtl.own_images.forecast import forecast, told
from mtl.own_images.learning_curve import learning_curve as measure
from mtl.own_images.learning_curve_command import learning_curve
from mtl.own_images.read_support import read_support

OUT, THINGS = Path("curve.png"), Path("things")


@pytest.fixture
def home(image_root, tmp_path, monkeypatch):
    lay_out(image_root, tmp_path, shot=5)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(home, **given):
    before = {path: path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}
    with pytest.raises(UserError) as caught:
        learning_curve(**{"out": OUT, **given})
    assert {path: path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()} == before
    return str(caught.value)


def test_a_folder_and_the_classifier_fitted_to_it_have_one_curve(home, whole_run, capsys):
    learning_curve(OUT, run=whole_run.path, support=THINGS)
    of_folder = capsys.readouterr()
    assert of_folder.err == ""
    with Image.open(OUT) as image:
        image.load()
        assert image.format == "PNG"
    curve = measure(
        embedder_of_run(whole_run.path).base_learner,
        read_support(THINGS, embedder_of_run(whole_run.path)).support,
    )
    lines = [line.rstrip() for line in of_folder.out.splitlines()]
    assert lines[0] == "Right answers to left-out pictures, 3 classes"
    assert lines[-2:] == [told(curve, forecast(curve)), "Picture: curve.png"]
    for point in curve.points():
        (row,) = (line for line in lines if line.startswith(f"│ {point.shot:>16} │"))
        worst = CLASSES[point.worst]
        wanted = (100 * point.accuracy, 100 * point.low, 100 * point.high, 100 * point.recalls[point.worst])
        accuracy, low, high, share = (f"{value:.0f}" for value in wanted)
        cells = [cell.strip() for cell in row.strip("│").split("│")]
        assert cells == [f"{point.shot}", f"{accuracy} %", f"{low} to {high} %", worst, f"{share} %"]
    assert sum("~" in line for line in lines) == 3  # 5 and 10 pictures, and what the sign means

    fit_new(whole_run.path, THINGS, Path("things.fewshot"))
    shutil.rmtree("things")
    capsys.readouterr()
    learning_curve(Path("other.png"), classifier=Path("things.fewshot"))
    assert capsys.readouterr().out == of_folder.out.replace("curve.png", "other.png")
    assert Path("other.png").read_bytes() == OUT.read_bytes()


def test_classes_with_too_few_pictures_are_left_out_and_named(home, whole_run, capsys):
    for number in range(1, 5):
        Path(f"things/elm/{number}.png").unlink()
    Path("things/oak/4.png").write_bytes(b"")
    learning_curve(OUT, run=whole_run.path, support=THINGS)
    said = capsys.readouterr()
    assert said.out.startswith("Right answers to left-out pictures, 2 classes ")
    assert said.err.splitlines() == [
        "left out: things/oak/4.png: is not a readable image (the file is empty)",
        "left out: elm: has 1 picture, too few for a curve of classes with 4 or more",
    ]


def test_few_pictures_have_no_law(home, whole_run, capsys):
    for name in CLASSES:
        for number in (2, 3, 4):
            Path(f"things/{name}/{number}.png").unlink()
    learning_curve(OUT, run=whole_run.path, support=THINGS)
    said = capsys.readouterr().out
    assert "~" not in said
    assert "With 1 picture of each class " in said
    assert OUT.exists()


def test_where_no_two_classes_have_two_pictures_nothing_is_measured(home, whole_run):
    for name in CLASSES[:2]:
        for number in range(1, 5):
            Path(f"things/{name}/{number}.png").unlink()
    told = refused(home, run=whole_run.path, support=THINGS)
    assert told == (
        "things: a learning curve needs two classes of two pictures or more, since each picture is asked of "
        "the others; there are ash 1, elm 1, oak 5"
    )
    shutil.rmtree("things/ash")
    shutil.rmtree("things/elm")
    assert refused(home, run=whole_run.path, support=THINGS).startswith(
        "things: 2 classes with pictures that can be read are needed, there is only oak"
    )


def test_a_learned_start_serves_one_number_of_classes(home, whole_run, monkeypatch):
    plain = embedder_of_run(whole_run.path)
    learned = replace(plain, origin=replace(plain.origin, head=Head(init="learned"), way=4))
    monkeypatch.setattr(stage, "embedder_of_run", lambda *_: learned)
    told = refused(home, run=whole_run.path, support=THINGS)
    assert (
        "has a learned start (meta.head.init = learned), which serves 4 classes alone, and here are 3" in told
    )


def test_a_picture_is_refused_before_the_work_where_it_cannot_be_written(home, whole_run, monkeypatch):
    monkeypatch.setattr(stage, "embedder_of_run", lambda *_: pytest.fail("work was begun"))
    given = {"run": whole_run.path, "support": THINGS}
    assert refused(home, **given, out=Path("curve.svg")) == "curve.svg: must end in .png"
    assert "the folder nowhere does not exist" in refused(home, **given, out=Path("nowhere/a.png"))
    assert refused(home, run=whole_run.path, support=Path("thing")) == (
        "thing: there is no such folder; did you mean things?"
    )
    OUT.write_bytes(b"mine")
    assert (
        refused(home, **given)
        == "curve.png: is there already; --overwrite replaces it, --out writes elsewhere"
    )
    asked = refused(home, **given, out=Path("things/ash/0.png"), overwrite=True)
    assert asked == "things/ash/0.png: is one of the pictures that are read; --out writes elsewhere"


def test_a_picture_is_replaced_whole_or_not_at_all(home, whole_run, monkeypatch, capsys):
    OUT.write_bytes(b"mine")

    def fail(self, target, **how):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Figure, "savefig", fail)
        with pytest.raises(UserError, match=r"curve\.png: the picture cannot be written \(No space left"):
            learning_curve(OUT, run=whole_run.path, support=THINGS, overwrite=True)
    assert OUT.read_bytes() == b"mine"
    assert capsys.readouterr().out == ""
    learning_curve(OUT, run=whole_run.path, support=THINGS, overwrite=True)
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
    learning_curve(OUT, run=whole_run.path, support=THINGS)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│") and "~" not in line]
    shown = {row.split("│")[4].strip() for row in rows}
    assert shown
    assert shown <= {"[bold]x", "two�lines"}


def test_a_source_is_needed(home):
    with pytest.raises(ValueError, match="a run and a support folder are needed, or a classifier"):
        learning_curve(OUT)
