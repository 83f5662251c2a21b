"""Answers to new pictures: as evaluation has them, least certain first, whole whatever comes between."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from elsewhere import in_another_thread
from own_folders import CLASSES, contents, hostile
from PIL import Image

from mtl.cli import main
from mtl.own_images import predict as stage
from mtl.own_images import predict_report as draw_answers
from mtl.own_images.answers import NONE
from mtl.runtime.outputs import claimed
from mtl.runtime.progress import Count

WRITTEN = ("predictions.csv", "predictions.html")


@pytest.fixture
def predict(home, whole_run, capsys):
    """Runs the command on `things`; its exit code, and what it said on both streams."""

    def run(*more, query=("new",), support=True):
        source = ["--run", str(whole_run.path), "--support", "things"] if support else []
        code = main(["predict", *source, "--query", *query, *more])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(home, predict):
    """What a command says that must end as a mistake of the user's and change no file."""

    def run(*more, **how):
        before = contents(home)
        code, _, said = predict(*more, **how)
        assert code == 2
        assert contents(home) == before
        return said

    return run


def table(path="predictions.csv"):
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_a_table_and_a_page_are_written(predict, home):
    code, out, err = predict()
    assert (code, err) == (0, "")
    assert "12 pictures classified: " in out
    assert "The 10 least certain of 12" in out
    assert out.endswith("Answers: predictions.csv, with pictures: predictions.html\n")
    found = table()
    wanted = [f"new/{name} {i}.png" for name in CLASSES for i in range(3, 7)]
    assert [row["file"] for row in found] == wanted
    for row in found:
        assert row["class"] in CLASSES
        assert float(row["margin"]) == pytest.approx(
            float(row["probability"]) - float(row["runner_up_probability"]), abs=2e-6
        )
    least = min(found, key=lambda row: float(row["probability"]))
    page = Path("predictions.html").read_text(encoding="utf-8")
    assert page.index(least["file"]) == min(page.index(row["file"]) for row in found)
    assert page.count('<article class="answer"') == 12
    assert page.count("data:image/") == 12 + 9  # and the support pictures
    assert not list(home.rglob("*.tmp"))


def test_the_same_pictures_give_the_same_bytes(predict):
    predict()
    before = [Path(name).read_bytes() for name in WRITTEN]
    assert predict("--overwrite")[0] == 0
    assert [Path(name).read_bytes() for name in WRITTEN] == before


def test_json_has_the_numbers_of_the_table(predict):
    predict()
    assert predict("--out", "a.json", "-q")[0] == 0
    tree = json.loads(Path("a.json").read_text(encoding="utf-8"))
    assert (tree["asked"], tree["classes"], tree["skipped"]) == (12, list(CLASSES), [])
    for row, plain in zip(tree["answers"], table(), strict=True):
        assert f"{row['probability']:.6f}" == plain["probability"]
        assert all(row[name] == plain[name] for name in ("file", "class", "runner_up"))
    assert Path("a.html").exists()


def test_a_classifier_answers_as_the_run_it_was_fitted_from(predict, whole_run, capsys):
    predict()
    assert main(["fit", "--run", str(whole_run.path), "--support", "things", "--out", "things.fewshot"]) == 0
    capsys.readouterr()
    code, *_ = predict("--classifier", "things.fewshot", "--out", "b.csv", support=False)
    assert code == 0
    for one, other in zip(table(), table("b.csv"), strict=True):
        assert one["class"] == other["class"]
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=1e-5)
    assert Path("b.html").read_text(encoding="utf-8").count("data:image/") == 12 + 9
    Path("things/ash/0.png").write_bytes(
        Path("new/oak 3.png").read_bytes()
    )  # no longer what it was fitted to
    Path("things/elm/0.png").unlink()
    predict("--classifier", "things.fewshot", "--out", "c.csv", support=False)
    assert Path("c.html").read_text(encoding="utf-8").count("data:image/") == 12 + 7
    assert Path("c.csv").read_bytes() == Path("b.csv").read_bytes()


def test_hostile_pictures_are_named_and_the_rest_is_answered(predict, home):
    told = hostile(home / "new")
    code, out, err = predict()
    assert code == 0
    assert "12 of 18 pictures classified: " in out
    assert sorted(err.splitlines()) == sorted(
        [
            *(f"left out: new/{name}: {why}" for name, why in told.items()),
            "left out: new/loop.png: is a link that leads nowhere; it is passed over",
        ]
    )
    found = table()
    assert sum(row["class"] != "" for row in found) == 12
    unread = [row["file"] for row in found[12:]]
    assert [name.replace("\n", "�") for name in unread] == [f"new/{name}" for name in told]
    assert all(set(row.values()) == {row["file"], ""} for row in found[12:])
    page = Path("predictions.html").read_text(encoding="utf-8")
    assert all(page.count(f"new/{name}: ") == 1 for name in told)


def test_of_many_bad_files_twenty_are_named(predict, home):
    for i in range(33):
        (home / "new" / f"bad {i:02d}.png").write_bytes(b"")
    code, _, err = predict("--out", "a.json")
    assert code == 0
    lines = err.splitlines()
    assert len(lines) == 21
    assert lines[19].startswith("left out: new/bad 19.png: ")
    assert lines[20] == "left out: and 13 more"
    assert len(json.loads(Path("a.json").read_bytes())["skipped"]) == 33


def test_names_that_are_no_text_are_answered(predict, home):
    odd = [b"new/\xff\xfe.png", b"new/=1+1.png", "new/<b>é\n.png".encode()]
    for name in odd:
        shutil.copyfile(b"new/ash 3.png", name)
    code, out, err = predict("--out", "a.json")
    assert (code, err) == (0, "")
    answers = json.loads(Path("a.json").read_bytes())["answers"]
    files = [one["file"].encode("utf-8", "surrogateescape") for one in answers]
    assert set(odd) <= set(files)
    assert "\n.png" not in out
    assert predict()[0] == 0
    assert {"new/\\udcff\\udcfe.png", "new/=1+1.png", "new/<b>é\n.png"} <= {row["file"] for row in table()}


def test_open_set_has_a_column_and_an_answer_of_its_own(predict):
    code, out, _ = predict("--open-set")
    assert code == 0
    assert "none" in out
    for row in table():
        assert (row["class"] == NONE) == (float(row["none"]) > 0.5)


def test_open_set_needs_two_pictures_of_a_class(refused):
    for name in CLASSES:
        for i in (1, 2):
            Path(f"things/{name}/{i}.png").unlink()
    assert refused("--open-set") == (
        "error: --open-set: how similar pictures of one class are shows where it has two support "
        "pictures; here every class has one, or near copies of one, give some a second picture\n"
    )


def test_open_set_needs_its_answer_to_be_no_class(refused):
    Path("things/ash").rename(f"things/{NONE}")
    assert f"error: --open-set: a class is named '{NONE}'" in refused("--open-set")


THERE = "is there already; --overwrite replaces it, --out writes elsewhere"
READ = "is one of the pictures that are read; --out writes elsewhere"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--out", "a.xlsx"], "a.xlsx: must end in .csv or .json"),
        (["--out", "no/a.csv"], "no/a.csv: cannot be written, the folder no does not exist"),
        (["--out", "folder.csv"], "folder.csv: is a folder, not a file to write"),
        (["--out", "mine.csv"], f"mine.csv: {THERE}"),
        (["--out", "page.csv"], f"page.html: {THERE}"),
    ],
)
def test_answers_that_cannot_be_written_are_refused_before_any_work(refused, more, told, monkeypatch):
    Path("folder.csv").mkdir()
    Path("mine.csv").write_text("mine")
    Path("page.html").write_text("mine")
    monkeypatch.setattr(stage, "load_or_fit", None)  # work would begin with it
    assert refused(*more) == f"error: {told}\n"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("nwe", "nwe: there is no such file or folder; did you mean new?"),
        ("new/*.jpg", "new/*.jpg: nothing fits this pattern"),
        ("empty", "empty: holds no pictures (.jpg, .png, .webp, .heic and other endings of pictures)"),
    ],
)
def test_queries_that_are_not_there_are_told(refused, query, told):
    Path("empty").mkdir()
    assert refused(query=(query,)) == f"error: {told}\n"


def test_pictures_none_of_which_can_be_read_are_told(refused):
    Path("bad").mkdir()
    Path("bad/1.png").write_bytes(b"")
    Path("2.png").write_text("milk, eggs")
    assert refused(query=("bad", "2.png")) == (
        "left out: 2.png: is not a readable image (it holds text, whatever its name says)\n"
        "left out: bad/1.png: is not a readable image (the file is empty)\n"
        "error: bad, 2.png: holds no picture that can be read\n"
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--run", "nowhere", "--support", "things"], "nowhere: is not a folder of a run"),
        (["--run", "RUN", "--support", "thing"], "thing: there is no such folder; did you mean things?"),
        (["--run", "RUN", "--support", "things/ash"], "things/ash: holds no class with pictures"),
        (["--run", "RUN"], "--support: is missing; it names a folder of your classes"),
        (
            ["--classifier", "c", "--support", "things"],
            "--support: does not go with --classifier, which has its support pictures",
        ),
        (["--classifier", "c"], "c: there is no such classifier"),
        (["--classifier", "new/ash 3.png"], "new/ash 3.png: is not a classifier, or was cut short"),
    ],
)
def test_a_classifier_that_cannot_be_had_is_told(refused, whole_run, given, told):
    given = [str(whole_run.path) if word == "RUN" else word for word in given]
    said = refused(*given, support=False)
    assert said.startswith(f"error: {told}")
    assert said.count("\n") == 1


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C after so many pictures."""

    def after(number):
        plain = Count.add

        def add(self, count):
            plain(self, count)
            if self.what == "pictures" and self.done >= number:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Count, "add", add)

    return after


def test_interrupted_it_writes_what_is_answered(predict, image_root, interrupted):
    query = (str(image_root / "test"),)
    predict(query=query)
    whole = table()
    interrupted(32)
    code, out, err = predict("--out", "part.csv", query=query)
    assert code == 130
    assert err == "predict: stopped after 32 of 72 pictures, whose answers are written\n"
    assert "32 of 72 pictures classified: " in out
    assert table("part.csv") == whole[:32]
    page = Path("part.html").read_text(encoding="utf-8")
    assert page.count('<article class="answer"') == 32
    assert "It was stopped before the others." in page


def test_interrupted_before_the_first_answer_it_writes_nothing(predict, home, interrupted):
    Path("bad").mkdir()
    for i in range(40):
        Path(f"bad/{i}.png").write_bytes(b"")
    interrupted(1)
    code, _, err = predict(query=("bad",))
    assert code == 130
    assert err.endswith("predict: stopped before the first answer; nothing is written\n")
    assert not list(home.glob("predictions*"))


def test_interrupted_after_the_last_picture_it_is_done(predict, interrupted):
    interrupted(12)
    code, out, err = predict()
    assert (code, err) == (0, "")
    assert "12 pictures classified" in out


def test_a_page_stays_small_whatever_the_pictures(predict, home, monkeypatch):
    predict()
    small = len(Path("predictions.html").read_bytes()) - 3000
    monkeypatch.setattr(draw_answers, "MOST_BYTES", small)
    predict("--overwrite")
    page = Path("predictions.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= small
    assert page.count('<article class="answer"') == 6
    assert "Shown are the 6 least certain of 12; all are in" in page
    assert len(table()) == 12


def test_pictures_that_are_gone_by_the_time_of_the_page_are_said_to_be(predict, monkeypatch):
    plain = stage.to_csv

    def deleting(*given):
        os.remove("new/ash 3.png")
        return plain(*given)

    monkeypatch.setattr(stage, "to_csv", deleting)
    assert predict()[0] == 0
    assert Path("predictions.html").read_text(encoding="utf-8").count("no longer there") == 1


def test_support_pictures_among_the_queries_are_not_counted(predict, home, whole_run):
    shutil.copyfile("things/ash/0.png", "new/known.png")
    assert main(["fit", "--run", str(whole_run.path), "--support", "things", "--out", "kept.fewshot"]) == 0
    for classifier in ((), ("--classifier", "kept.fewshot")):
        code, out, _ = predict("--overwrite", *classifier, support=not classifier)
        assert code == 0
        assert "1 of the 13 pictures is a support picture" in out
        marked = {row["file"]: row["support_picture"] for row in table() if row["support_picture"]}
        assert marked == {"new/known.png": "same"}
    code, out, _ = predict("--overwrite", query=("things",))
    assert code == 0
    assert "9 pictures classified. 9 of the 9 pictures are support pictures" in out


def test_frames_of_a_burst_promise_nothing(predict, home):
    for number, name in enumerate(CLASSES):
        one = np.asarray(Image.open(f"things/{name}/0.png"), dtype=float)
        for file in Path("things", name).iterdir():
            file.unlink()
        for frame in range(4):
            noise = np.random.default_rng([number, frame]).normal(0, 3, one.shape)
            Image.fromarray((one + noise).clip(0, 255).astype(np.uint8)).save(f"things/{name}/{frame}.png")
    code, out, _ = predict()
    assert code == 0
    assert "of new images of each class will be right" not in out
    assert "4 pictures of ash are 1 view, as near copies count once: vary them." in out
    page = Path("predictions.html").read_text(encoding="utf-8")
    assert "calibrated only on validation classes of the run" in page
    assert "four in five are right" not in page
    code, _, err = predict("--overwrite", "--open-set")
    assert code == 2
    assert "near copies" in err


def test_two_at_once_with_one_output_are_told_apart_before_any_work(home, predict, refused):
    with in_another_thread(lambda: claimed(Path("predictions.html"), "predict")):
        told = refused()
        assert f"process {os.getpid()}" in told
        assert refused("--overwrite") == told
        assert "predictions.html" in refused("--out", "predictions.json")
        assert predict("--out", "others.csv")[0] == 0
    assert predict()[0] == 0
    assert not [p.name for p in home.iterdir() if "lock" in p.name]
