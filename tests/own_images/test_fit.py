"""Classifiers as files: fitted, added to, made to forget; and nothing written where that is refused."""

import os
import shutil
import threading
from pathlib import Path

import pytest
import torch
from elsewhere import in_another_thread
from own_folders import CLASSES

from mtl.errors import UserError
from mtl.own_images import classifier_file as file
from mtl.own_images import fit as fit_stage
from mtl.own_images.fit import Changes, ClassifierSource, fit_again, fit_network, fit_new
from mtl.runtime import outputs

OUT = Path("things.fewshot")


@pytest.fixture
def fitted(home, whole_run, capsys):
    fit_new(ClassifierSource(whole_run.path, Path("things")), OUT)
    capsys.readouterr()
    return OUT


def support_of(path):
    support = file.load(path).support
    return dict(zip(support.classes, support.counts().tolist(), strict=True))


def test_a_fitted_classifier_answers_out_of_its_file_as_before(home, whole_run, capsys):
    shutil.copyfile("things/ash/0.png", "things/ash/again.png")
    fit_new(ClassifierSource(whole_run.path, Path("things")), OUT)
    said = capsys.readouterr()
    assert "Fitted 3 classes with 9 pictures: ash 3, elm 3, oak 3." in said.out
    assert said.out.endswith("Classifier: things.fewshot\n")
    assert (
        said.err == "left out: things/ash/0.png, things/ash/again.png: are the same picture; it counts once\n"
    )
    read, source = file.load(OUT), fit_network(whole_run.path, Path("things"))
    features = source.classifier.support.features
    for one, other in zip(
        read.answer(features).probabilities, source.classifier.answer(features).probabilities, strict=True
    ):
        assert torch.allclose(one, other, atol=1e-6)


def test_what_is_there_is_kept_unless_it_may_be_replaced(whole_run, fitted, refused):
    told = refused(fit_new, ClassifierSource(whole_run.path, Path("things")), OUT)
    assert told == "things.fewshot: is there already; --overwrite replaces it, --out writes elsewhere"
    shutil.rmtree("things/oak")
    fit_new(ClassifierSource(whole_run.path, Path("things")), OUT, overwrite=True)
    assert support_of(OUT) == {"ash": 3, "elm": 3}


def test_a_class_and_pictures_of_a_known_class_are_added(home, fitted, image_root):
    shutil.copytree(image_root / "test" / "test 04", "more/yew")
    Path("more/ash").mkdir()
    for i in (3, 4):
        shutil.copyfile(f"new/ash {i}.png", f"more/ash/{i}.png")
    fit_again(fitted, Changes(add=Path("more")), out=Path("other.fewshot"))
    assert support_of(Path("other.fewshot")) == {"ash": 5, "elm": 3, "oak": 3, "yew": 12}
    assert support_of(fitted) == {"ash": 3, "elm": 3, "oak": 3}


def test_adding_to_a_classifier_is_fitting_to_all(home, fitted, whole_run):
    Path("more/ash").mkdir(parents=True)
    shutil.copyfile("new/ash 3.png", "more/ash/3.png")
    fit_again(fitted, Changes(add=Path("more")))
    shutil.copyfile("new/ash 3.png", "things/ash/3.png")
    whole = fit_network(whole_run.path, Path("things")).classifier
    answers = [one.answer(whole.support.features).probabilities for one in (file.load(fitted), whole)]
    assert torch.allclose(*answers, atol=1e-4)


def listed(path, **labels):
    """A list of pictures with their labels."""
    rows = [f"{Path(file).absolute()},{label}" for label, files in labels.items() for file in files]
    path.write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    return path


def test_fixing_labels_is_fitting_with_these_labels(home, whole_run):
    right = {"ash": ["things/ash/0.png", "things/ash/1.png", "new/ash 3.png"], "elm": ["new/elm 3.png"]}
    right["elm"] += ["things/elm/0.png", "things/ash/2.png"]
    first = {"ash": right["ash"][:2], "elm": ["things/elm/0.png"], "oak": ["things/ash/2.png"]}
    first["oak"], right["oak"] = [*first["oak"], "things/oak/0.png"], ["things/oak/0.png"]
    fit_new(ClassifierSource(whole_run.path, listed(home / "first.csv", **first)), OUT)
    told = {"ash": ["new/ash 3.png", "things/ash/0.png"], "elm": ["new/elm 3.png", "things/ash/2.png"]}
    fit_again(OUT, Changes(fix=listed(home / "corrections.csv", **told)))
    fit_new(ClassifierSource(whole_run.path, listed(home / "right.csv", **right)), Path("right.fewshot"))
    fixed, whole = file.load(OUT), file.load(Path("right.fewshot"))
    assert (fixed.support.files, fixed.support.names()) == (whole.support.files, whole.support.names())
    assert torch.equal(fixed.support.features, whole.support.features)
    assert torch.equal(fixed.head.weight, whole.head.weight)
    assert (fixed.temperature, fixed.open_set.threshold) == (whole.temperature, whole.open_set.threshold)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            "path,label\nnew/ash 3.png,asch",
            ('corrections.csv: line 2: "asch" is not a class', '"ash"?', "--add"),
        ),
        ("path,label\nnew/gone.png,ash", ("corrections.csv: line 2: ", "gone.png is not there")),
        ("path,right\nnew/ash 3.png,ash", ("corrections.csv: the header has no column label", "path, right")),
        ("things/ash/0.png,ash", ("corrections.csv: changes nothing",)),
        ("".join(f"things/ash/{i}.png,elm\n" for i in range(3)), ("all pictures of ash", "--remove ash")),
        (None, ("--fix: corrections.csv: there is no such file",)),
    ],
)
def test_corrections_that_cannot_be_made_are_refused(home, fitted, rows, said, refused):
    if rows is not None:
        Path("corrections.csv").write_text(rows, encoding="utf-8")
    sentence = refused(fit_again, fitted, Changes(fix=Path("corrections.csv")))
    assert all(words in sentence for words in said)
    assert "\n" not in sentence


def test_a_class_is_replaced_by_removing_and_adding_it(home, fitted):
    Path("more/ash").mkdir(parents=True)
    shutil.copyfile("new/ash 3.png", "more/ash/3.png")
    fit_again(fitted, Changes(add=Path("more"), remove=" ash , oak "))
    assert support_of(fitted) == {"ash": 1, "elm": 3}


@pytest.mark.parametrize(
    ("remove", "told"),
    [
        (
            "elmm",
            '--remove: "elmm" is not a class of things.fewshot; did you mean "elm"? (it has: "ash", "elm", '
            '"oak")',
        ),
        ("zzz", '--remove: "zzz" is not a class of things.fewshot (it has: "ash", "elm", "oak")'),
        (" , ", "--remove: ' , ' names no class"),
        ("ash,elm", 'things.fewshot: a classifier needs two classes or more; of 3 there would be left "oak"'),
        (
            "ash,elm,oak",
            "things.fewshot: a classifier needs two classes or more; of 3 there would be left none",
        ),
    ],
)
def test_what_cannot_be_removed_is_told(fitted, remove, told, refused):
    assert refused(fit_again, fitted, Changes(remove=remove)) == told


def test_a_class_with_a_comma_in_its_name_is_removed_by_it(home, whole_run):
    Path("things/oak").rename("things/oak, old")
    fit_new(ClassifierSource(whole_run.path, Path("things")), OUT)
    fit_again(OUT, Changes(remove="oak, old"))
    assert support_of(OUT) == {"ash": 3, "elm": 3}


def test_a_class_with_outer_spaces_is_removed_along_with_others(home, whole_run):
    for name in (" lead", "lead"):
        shutil.copytree("things/oak", f"things/{name}")
        for i in range(3):
            shutil.copyfile(f"new/{'ash' if name == 'lead' else 'elm'} {3 + i}.png", f"things/{name}/{i}.png")
    fit_new(ClassifierSource(whole_run.path, Path("things")), OUT)
    fit_again(OUT, Changes(remove=" lead, ash "))
    assert support_of(OUT) == {"elm": 3, "lead": 3, "oak": 3}


@pytest.mark.parametrize("name", ["wolf", "Ash", "ash "])
def test_a_known_class_is_not_lost_to_another_that_is_added(fitted, name, refused):
    shutil.copytree("things/ash", f"more/{name}")
    shown = '"ash "' if name == "ash " else name
    assert refused(fit_again, fitted, Changes(add=Path("more"))) == (
        f"ash: all of its pictures are in {shown} as well; as nobody knows which is right, none would count "
        "and the class would be lost; take them out of more, or --remove ash with it"
    )
    fit_again(fitted, Changes(add=Path("more"), remove="ash"))
    assert support_of(fitted) == {name: 3, "elm": 3, "oak": 3}


def test_a_new_class_that_is_called_nearly_as_a_known_one_is_told(home, fitted, capsys):
    for i, name in enumerate(["ASH", "elm ", "yew"]):
        Path("more", name).mkdir(parents=True)
        shutil.copyfile(f"new/oak {3 + i}.png", f"more/{name}/0.png")
    fit_again(fitted, Changes(add=Path("more")))
    assert [line.partition(": ")[0] for line in capsys.readouterr().err.splitlines()] == [
        '"ASH", "ash"',
        '"elm", "elm "',
    ]
    assert set(support_of(fitted)) == {"ASH", "ash", "elm", "elm ", "oak", "yew"}


def test_a_new_class_none_of_whose_pictures_counts_is_told(home, fitted, capsys):
    Path("more/wolf").mkdir(parents=True)
    shutil.copyfile("things/ash/1.png", "more/wolf/1.png")
    fit_again(fitted, Changes(add=Path("more")))
    assert support_of(fitted) == {"ash": 2, "elm": 3, "oak": 3}
    assert capsys.readouterr().err.startswith("left out: more/wolf: no picture of it is left\n")


def test_pictures_that_are_there_already_count_once(home, fitted, capsys):
    Path("more/ash").mkdir(parents=True)
    shutil.copyfile("things/ash/1.png", "more/ash/other name.png")
    shutil.copyfile("new/ash 3.png", "more/ash/3.png")
    fit_again(fitted, Changes(add=Path("more")))
    assert support_of(fitted)["ash"] == 4
    assert (
        "left out: more/ash/other name.png: is the same picture as things/ash/1.png, which is there already; "
        "it counts once\n" in capsys.readouterr().err
    )


def test_a_picture_that_is_there_in_another_class_counts_in_none(home, fitted, capsys):
    Path("more/ash").mkdir(parents=True)
    shutil.copyfile("things/elm/1.png", "more/ash/1.png")
    fit_again(fitted, Changes(add=Path("more")))
    assert support_of(fitted) == {"ash": 3, "elm": 2, "oak": 3}
    assert (
        "left out: more/ash/1.png: is the same picture as things/elm/1.png of another class; as nobody knows "
        "which is right, none counts\n" in capsys.readouterr().err
    )


def test_adding_nothing_new_is_refused(fitted, refused):
    told = refused(fit_again, fitted, Changes(add=Path("things")))
    assert told == "things: holds no picture that is not there already"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "things.fewshot: nothing is to be changed; --add, --remove or --fix says what"),
        ({"add": Path("nowhere")}, "nowhere: there is no such folder"),
        ({"add": Path("thing")}, "thing: there is no such folder; did you mean things?"),
        ({"remove": "ash", "out": Path("new")}, "new: is a folder, not a file to write"),
        ({"remove": "ash", "out": Path("no/a")}, "no/a: cannot be written, the folder no does not exist"),
        (
            {"remove": "ash", "out": Path("there")},
            "there: is there already; --overwrite replaces it, --out writes elsewhere",
        ),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(fitted, given, told, refused):
    Path("there").write_text("mine")
    changes = Changes(given.get("remove"), given.get("add"))
    assert refused(fit_again, fitted, changes, out=given.get("out")) == told


@pytest.mark.parametrize("ending", ["csv", "json", "html", "png", "jpg", "JPEG", "pt", "onnx", "pt2", "yaml"])
def test_a_classifier_is_not_called_as_another_kind_of_file(fitted, whole_run, ending, refused):
    out = Path(f"my.{ending}")
    told = f"{out}: .{ending} is the ending of another kind of file; a classifier ends in .fewshot, "
    told += "as my.fewshot"
    assert refused(fit_new, ClassifierSource(whole_run.path, Path("things")), out) == told
    assert refused(fit_again, fitted, Changes(remove="ash"), out=out) == told


def test_what_is_no_run_or_no_classifier_is_told(whole_run, refused):
    assert "nowhere: is not a folder of a run" in refused(
        fit_new, ClassifierSource(Path("nowhere"), Path("things")), OUT
    )
    told = refused(fit_again, Path("no.fewshot"), Changes(remove="ash"))
    assert told == "no.fewshot: there is no such classifier; fit --out no.fewshot makes one"
    told = refused(fit_again, whole_run.path, Changes(remove="ash"))
    assert told == f"{whole_run.path}: is the folder of a run; --run and --support go with it"
    assert CLASSES == ("ash", "elm", "oak")


def test_of_two_additions_at_once_the_second_adds_to_what_the_first_wrote(
    home, fitted, image_root, monkeypatch
):
    for name in ("yew", "fir"):
        shutil.copytree(image_root / "test" / "test 04", Path(name) / name)
        (Path(name) / name / "00.png").unlink()  # two classes may not hold the same pictures
        for i in range(1, 12):
            if (i % 2 == 0) == (name == "yew"):
                (Path(name) / name / f"{i:02d}.png").unlink()
    reading, go_on, errors = threading.Event(), threading.Event(), []
    plain = fit_stage.read_support

    def slowly(folder, *given, **more):
        if folder == Path("yew"):
            reading.set()
            assert go_on.wait(60)
        return plain(folder, *given, **more)

    def waiting(sentence, *_):
        if "waits for process" in sentence:
            go_on.set()

    def add(name):
        try:
            fit_again(fitted, Changes(add=Path(name)))
        except UserError as error:
            errors.append(error)

    monkeypatch.setattr(fit_stage, "read_support", slowly)
    monkeypatch.setattr(outputs, "tell", waiting)
    first = threading.Thread(target=add, args=("yew",))
    first.start()
    assert reading.wait(60)
    add("fir")
    first.join(60)
    assert not errors
    assert set(support_of(fitted)) == {"ash", "elm", "oak", "yew", "fir"}
    assert not [p.name for p in home.iterdir() if "lock" in p.name]


def test_a_new_classifier_is_refused_where_another_process_is_writing_it(whole_run, image_root, refused):
    with in_another_thread(lambda: outputs.claimed(OUT, "fit")):
        told = refused(fit_new, ClassifierSource(whole_run.path, Path("things")), OUT)
    assert f"process {os.getpid()}" in told
    fit_new(ClassifierSource(whole_run.path, Path("things")), OUT)
