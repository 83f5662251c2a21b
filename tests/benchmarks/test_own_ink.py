"""Wrong answers with and without the rule on ink, measured on a tiny run; the kinds of pictures as such."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from benchmarks.ink_kinds import KINDS, drawing_of
from benchmarks.own_ink import RULES, as_seen, main, picture, tasks
from mtl.data import load_splits
from mtl.data.ink import Ink, strokes
from mtl.data.own_picture import prepare_picture
from mtl.errors import UserError
from mtl.own_images.embedder import Preparation
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.training.pretrain import pretrain

SIDE = 32
INK = Ink(True, (0, 0, 0), (200, 255, 255), 10, (0.3, 0.6, 0.9), sides=(28, SIDE))
HOW = Preparation(28, 1, (0.1,), (0.3,), ink=INK)


@pytest.fixture(scope="module")
def signs(tmp_path_factory):
    """`{train,val,test}/<class>/*.png`: crosses of dark strokes on white; their place is the class."""
    home = tmp_path_factory.mktemp("signs")
    random = np.random.default_rng(0)
    for part, classes in {"train": 12, "val": 5, "test": 6}.items():
        for c in range(classes):
            (home / part / f"{part}{c}").mkdir(parents=True)
            ends = random.integers(7, SIDE - 7, 8)
            for copy in range(6):
                image = Image.new("L", (SIDE, SIDE), 255)
                moved = (ends + random.integers(-1, 2, 8)).tolist()
                for line in (moved[:4], moved[4:]):
                    ImageDraw.Draw(image).line(line, 0, 2)
                image.save(home / part / f"{part}{c}" / f"{copy}.png")
    return home


@pytest.fixture
def run(tiny, signs):
    """The folder of a run on them, and its config."""
    data = {"root": str(signs), "image_size": SIDE, "duplicates": "keep", "augment": {"flip": False}}
    sections = {"pretrain": {"epochs": 1, "validate_tasks": 5}, "evaluate": {"settings": [[3, 1]]}}
    config = tiny(data=data, meta={"way": 3, "queries": 2}, **sections)
    pretrain(config)
    folder = RunFolder.of(config)
    payload = checkpoints.read(folder.pretrain)
    payload["images"]["ink"]["sides"] = [SIDE]
    checkpoints.write(folder.pretrain, payload)
    return folder, config


def cells(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]


def means(row):
    return [float(cell.split(" ± ")[0]) for cell in row[1:]]


def shown(run, signs, capsys, *more):
    arguments = ["--run", str(run[0].path), "--root", str(signs), "--characters", "test", "--way", "3"]
    assert main([*arguments, *more]) == 0
    return cells(capsys.readouterr().out)


def test_each_kind_has_a_row_and_its_figures(run, signs, capsys):
    head, line, *rows = shown(run, signs, capsys, "--tasks", "1")
    assert head == ["kind", "off", "on", "on − off"]
    assert line == ["---", "---:", "---:", "---:"]
    assert [row[0] for row in rows] == [what for what, _ in KINDS.values()] + ["mean of these"]
    halves = [cell.split(" ± ")[1] for row in rows for cell in row[1:]]
    assert set(halves) == {"nan"}  # one task tells nothing of the spread


def test_rules_are_compared_on_the_same_tasks(run, signs, capsys):
    kinds = ["--tasks", "6", "--kinds", "dark", "light", "page20"]
    rows = shown(run, signs, capsys, *kinds)[2:]
    assert rows[0][1:3] == [rows[0][1]] * 2  # as the training images are
    assert rows[0][3] == "+0.0 ± 0.0"
    assert rows[1][2] == rows[0][2]  # inverted
    off, on, difference = means(rows[2])
    assert off > on
    assert difference == pytest.approx(on - off, abs=0.11)
    assert means(rows[3]) == pytest.approx(np.mean([means(row) for row in rows[:3]], 0), abs=0.11)

    turned = shown(run, signs, capsys, *kinds, "--rules", "on", "off")
    assert turned[0] == ["kind", "on", "off", "off − on"]
    assert turned[4][1:3] == [rows[2][2], rows[2][1]]


def test_tasks_are_one_drawing_of_each_class_to_learn_and_another_to_name(run, signs):
    images = load_splits(run[1].data, 0).test
    drawn = tasks(images, [signs.parent, signs], 4, 30, 0)
    for task in drawn:
        assert len({file.parent for file in task.learned}) == 4
        assert [file.parent for file in task.learned] == [file.parent for file in task.asked]
        places = {file.name for file in task.learned}, {file.name for file in task.asked}
        assert [len(names) for names in places] == [1, 1]
        assert places[0] != places[1]
        assert all(file.is_file() for file in (*task.learned, *task.asked))
    assert drawn == tasks(images, [signs], 4, 30, 0)
    assert drawn != tasks(images, [signs], 4, 30, 1)

    scripts = replace(images, groups=("a", "b", "b", "a", "b", "a"))
    for task in tasks(scripts, [signs], 3, 20, 0):
        of = {scripts.groups[scripts.class_names.index(file.parent.name)] for file in task.learned}
        assert len(of) == 1


@pytest.mark.parametrize(("way", "root"), [(7, "."), (3, "elsewhere")])
def test_too_many_ways_and_another_root_are_refused(run, signs, way, root):
    with pytest.raises(UserError, match="--way" if way == 7 else "--root"):
        tasks(load_splits(run[1].data, 0).test, [signs / root], way, 1, 0)


def test_a_run_without_ink_is_refused(whole_run, capsys):
    with pytest.raises(SystemExit) as refused:
        main(["--run", str(whole_run.path)])
    assert refused.value.code == 2
    assert "no ink" in capsys.readouterr().err


def test_pictures_follow_from_file_kind_and_seed(signs):
    file = next((signs / "test").glob("*/*.png"))
    for kind in KINDS:
        first, again = picture(file, kind, 0), picture(file, kind, 0)
        assert (first.mode, first.size) == (again.mode, again.size)
        assert first.tobytes() == again.tobytes()
    assert picture(file, "photo", 0).tobytes() != picture(file, "photo", 1).tobytes()


def test_a_drawing_is_the_same_from_either_ink(signs):
    file = next((signs / "test").glob("*/*.png"))
    dark = Image.open(file)
    drawing = drawing_of(dark)
    assert drawing[0, 0] == 0
    assert drawing.max() == 1
    assert np.array_equal(drawing, drawing_of(Image.eval(dark, lambda value: 255 - value)))


def extent(image, rule):
    return float(strokes(as_seen(image, HOW, rule)[None]).extent)


def test_rules_differ_where_their_names_say(signs):
    file = next((signs / "test").glob("*/*.png"))
    seen = {name: as_seen(picture(file, "dark", 0), HOW, name) for name in RULES}
    paler = {name for name in seen if not torch.equal(seen[name], seen["on"])}
    assert paler <= {"off", "unsized-contrast-1"}  # strokes fade a little where a file is made small
    assert torch.equal(seen["off"], prepare_picture(picture(file, "dark", 0), 28, True)[0])

    page = picture(file, "page40", 0)
    framed = extent(page, "on")
    assert framed == pytest.approx(0.6, abs=0.08)
    assert extent(page, "frame-never") < 0.8 * framed
    assert extent(page, "frame-differing") == framed

    near = picture(file, "big", 0)
    assert not torch.equal(as_seen(near, HOW, "on"), as_seen(near, HOW, "frame-never"))
    similar = replace(HOW, ink=replace(INK, extent=(0.3, extent(near, "frame-never"), 0.99)))
    assert torch.equal(as_seen(near, similar, "frame-differing"), as_seen(near, HOW, "frame-never"))


@pytest.mark.parametrize(("ground", "rules"), [(3, {"ground-0"}), (12, {"on", "ground-0"}), (40, None)])
def test_slack_decides_which_grounds_are_drawn_anew(signs, ground, rules):
    file = next((signs / "test").glob("*/*.png"))
    pixels = np.asarray(picture(file, "light", 0)).astype(int)
    image = Image.fromarray(np.maximum(pixels, ground).astype(np.uint8))
    corner = {
        name: int(as_seen(image, HOW, name)[0, 0, 0]) for name in ("on", "ground-0", "ground-20", "ground-60")
    }
    redrawn = {name for name, value in corner.items() if value == 0}
    assert redrawn == (rules or {"on", "ground-0", "ground-20"})
    assert {corner[name] for name in corner if name not in redrawn} == {ground}
