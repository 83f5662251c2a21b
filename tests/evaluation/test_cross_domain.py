"""Several image sets from pretraining to results, and evaluation on sets that the run never saw."""

import dataclasses
import io
import json
import shutil

import pytest
import torch
from ledger_digest import dump
from rich.console import Console
from sampler_options import nested

from mtl.data import ImageSet, Splits
from mtl.data.decode import decode
from mtl.data.sources import glyphs
from mtl.episodes.episode import EpisodeShape
from mtl.errors import UserError
from mtl.evaluation.evaluate import evaluate, scored_sets
from mtl.evaluation.results import show
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.process import Interrupted
from mtl.runtime.run_folder import RunFolder
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data, require_each_set

BOTH = {"name": "several", "sets": ["image_folder", "glyphs"], "samples_per_class": 6, "grayscale": False}
QUICK = {"settings": [[3, 1]], "tasks": 10, "baseline": False, "resample": {"rounds": 0}}


@pytest.fixture(autouse=True)
def few_letters(monkeypatch):
    """Glyphs of 33, 39 and 19 classes."""
    monkeypatch.setattr(glyphs, "SCRIPTS", {"train": ("LAO",), "val": ("LISU",), "test": ("OGHAM",)})


def _images(names, size=16, channels=1):
    labels = torch.arange(len(names)).repeat_interleave(8)
    return ImageSet(torch.zeros(len(labels), channels, size, size, dtype=torch.uint8), labels, tuple(names))


@pytest.fixture
def other_set(monkeypatch):
    """Evaluation on `omniglot` gets classes of these names."""

    def patch(val, test):
        found = Splits(_images(["q"]), _images(val), _images(test), "omniglot")
        monkeypatch.setattr("mtl.evaluation.evaluate.load_matching", lambda *_, **__: found)

    return patch


def test_without_several_sets_the_run_scores_its_own(tiny):
    config = tiny()
    run_data = load_run_data(config)
    assert scored_sets(config, run_data) == [(None, run_data)]


def test_each_of_several_sets_is_scored_by_itself(tiny):
    config = tiny(data=BOTH)
    run_data = load_run_data(config)
    found = scored_sets(config, run_data)
    assert [name for name, _ in found] == ["glyphs", "image_folder"]
    assert sum(len(one.splits.test) for _, one in found) == len(run_data.splits.test)
    for name, one in found:
        test = one.splits.test
        assert all(c.startswith(f"{name}/") for c in test.class_names)
        assert one.splits.train is run_data.splits.train
        assert one.normalise is run_data.normalise
        rows = [run_data.splits.test.files.index(file) for file in test.files]
        assert torch.equal(test.images, run_data.splits.test.images[rows])
        episodes = one.fixed_episodes("test", EpisodeShape(3, 1, 4), 5, 0, "evaluate")
        assert set(episodes.origin) == {"uniform"}  # as the ledger has them: within one set says nothing


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("grey", [True, False])
def test_another_set_is_brought_to_the_size_and_colours_of_training(tiny, split, grey):
    config = tiny(
        data={"grayscale": grey, "samples_per_class": 6}, evaluate={"sets": ["glyphs"], "split": split}
    )
    run_data = load_run_data(config)
    ((name, one),) = scored_sets(config, run_data)
    scored = one.split(split)
    assert name == "glyphs"
    assert scored.images.shape[1:] == run_data.splits.train.images.shape[1:] == (1 if grey else 3, 16, 16)
    assert set(scored.groups) == {"Ogham" if split == "test" else "Lisu"}
    assert (one.normalise, one.splits.train) == (run_data.normalise, run_data.splits.train)
    rest = "val" if split == "test" else "test"
    assert one.split(rest) is run_data.split(rest)


def test_a_run_on_its_own_size_lends_it_to_the_others(tiny):
    config = tiny(data={"image_size": None, "samples_per_class": 6}, evaluate={"sets": ["glyphs"]})
    run_data = load_run_data(config)
    assert run_data.splits.train.size == 84  # the folder's own: nothing is said of 84 in the config
    assert scored_sets(config, run_data)[0][1].splits.test.size == 84


@pytest.mark.parametrize("data", [{}, BOTH])
def test_a_set_of_the_run_is_scored_alike_by_its_name(tiny, data):
    config = tiny(data=data, evaluate=QUICK)
    pretrain(config)
    own = evaluate(config)[-1]
    (named,) = evaluate(tiny(data=data, evaluate={**QUICK, "sets": ["image_folder"]}))
    assert own.set == ("image_folder" if data else None)
    assert named.set == "image_folder"
    assert [s.task_accuracy for s in named.scores] == [s.task_accuracy for s in own.scores]


@pytest.mark.parametrize(
    ("split", "classes", "refused"),
    [
        ("test", ["train 03", "x", "y"], 1),
        ("test", ["val 01", "val 02", "y"], 2),
        ("test", ["test 00", "x", "y"], 0),  # novel for the run as well
        ("val", ["train 03", "x", "y"], 1),
        ("val", ["val 01", "x", "y"], 0),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_classes_that_the_run_has_seen_are_no_novel_ones(tiny, other_set, split, classes, refused, several):
    how = {"sets": ["omniglot"], "split": split, "settings": [[3, 1]]}
    config = tiny(data={**BOTH, "grayscale": True} if several else {}, evaluate=how)
    run_data = load_run_data(config)
    other_set(**({"val": ["w"], "test": classes} if split == "test" else {"val": classes, "test": ["w"]}))
    if not refused:
        assert scored_sets(config, run_data)[0][1].split(split).class_names == tuple(classes)
        return
    with pytest.raises(UserError) as caught:
        scored_sets(config, run_data)
    more = " (and 1 more)" if refused == 2 else ""
    told = f"evaluate.sets: omniglot: class {classes[0]}{more} is in another split of the run's own images"
    assert str(caught.value).startswith(told)


@pytest.fixture
def birds(image_root, tmp_path):
    """A plain folder of six classes that no run was trained on."""
    for number, folder in enumerate(sorted((image_root / "test").iterdir())):
        shutil.copytree(folder, tmp_path / "birds" / f"bird {number}")
    return tmp_path / "birds"


@pytest.mark.parametrize("split", ["val", "test"])
def test_all_classes_of_another_folder_are_scored(tiny, birds, split):
    entry = {"name": "image_folder", "root": str(birds)}
    data = {
        "classes": {"val": ["v*"], "test": ["te*"]},
        "layout": "merge",
        "group_by": "^.",
    }  # of the own folder
    config = tiny(data=data, evaluate={**QUICK, "sets": [entry, "glyphs"], "split": split})
    pretrain(config)
    run_data = load_run_data(config)
    (name, one), _ = scored_sets(config, run_data)
    scored = one.split(split)
    assert (name, scored.class_names) == ("birds", tuple(f"bird {i}" for i in range(6)))
    for i in range(0, len(scored), 7):  # each image has kept its class and file
        own = one.splits.train.images.shape[1:]
        assert scored.files[i].split("/")[0] == scored.class_names[scored.labels[i]]
        assert torch.equal(scored.images[i], decode(birds / scored.files[i], own[-1], grayscale=True))
    assert (one.normalise, one.splits.train) == (run_data.normalise, run_data.splits.train)
    found = evaluate(config)
    assert [setting.set for setting in found] == ["birds", "glyphs"]
    assert found[0].scores[0].class_recall.keys() == set(scored.class_names)
    with Ledger.read(RunFolder.of(config).ledger) as ledger:
        assert f"evaluate {split} birds 3-way 1-shot" in [phase.name for phase in ledger.phases()]


def test_of_a_folder_with_splits_those_classes_are_scored(tiny, birds, tmp_path):
    for part, which in {"train": "012", "val": "3", "test": "45"}.items():
        for number in which:
            shutil.copytree(birds / f"bird {number}", tmp_path / "split" / part / f"bird {number}")
    entry = {"name": "image_folder", "root": str(tmp_path / "split")}
    config = tiny(evaluate={"sets": [entry], "settings": [[2, 1]]})
    ((_, one),) = scored_sets(config, load_run_data(config))
    assert one.splits.test.class_names == ("bird 4", "bird 5")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shutil.rmtree, "evaluate.sets: birds: .*birds"),
        (lambda birds: (birds / "bird 3").rename(birds / "train 03"), "birds: class train 03 is in another"),
        (
            lambda birds: [shutil.rmtree(birds / f"bird {i}") for i in (1, 2, 3, 4)],
            "birds: .*holds 2 classes",
        ),
        (
            lambda birds: [f.unlink() for f in sorted((birds / "bird 3").iterdir())[2:]],
            "birds: class bird 3 .* 2",
        ),
    ],
)
def test_what_is_wrong_with_another_folder_is_told_with_its_name(tiny, birds, change, words):
    change(birds)
    config = tiny(evaluate={**QUICK, "sets": [{"name": "image_folder", "root": str(birds)}]})
    run_data = load_run_data(config)
    with pytest.raises(UserError, match=words):
        scored_sets(config, run_data)


def test_a_scored_set_that_is_too_small_is_told_by_name(tiny, other_set):
    config = tiny(evaluate={"sets": ["omniglot"], "settings": [[3, 1]]})
    run_data = load_run_data(config)
    other_set(["w"], ["x", "y"])
    with pytest.raises(
        UserError, match=r"^evaluate.sets: omniglot: the test split has 2 classes, fewer than the 3"
    ):
        scored_sets(config, run_data)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"meta": {"way": 13}}, "meta.way: 13 ways, but image_folder has 12 classes in its train split"),
        ({"meta": {"way": 6}}, "meta.way: 6 ways, but image_folder has 5 classes in its val split"),
        (
            {"evaluate": {"settings": [[3, 1], [7, 1]]}},
            "evaluate.settings: 7 ways, but image_folder has 6 classes in its test split",
        ),
    ],
)
def test_a_set_without_the_classes_of_a_task_is_told_before_any_training(tiny, sections, words):
    with pytest.raises(UserError) as caught:
        load_run_data(tiny(data=BOTH, **sections))
    assert str(caught.value) == f"{words}, and a task is of one image set"


def test_a_set_without_a_group_of_that_size_is_told():
    images = dataclasses.replace(
        _images("abcde"), domains=("one",) * 3 + ("two",) * 2, groups=("g", "g", "h", "i", "i")
    )
    require_each_set(images, "test", 2, "evaluate.settings", within_group=True)
    apart = dataclasses.replace(images, groups=("g", "g", "h", "i", "j"))
    with pytest.raises(
        UserError, match="2 ways, but the largest group of the two test split, i, has 1 class"
    ):
        require_each_set(apart, "test", 2, "evaluate.settings", within_group=True)


def test_fixed_tasks_are_of_one_set_each(tiny):
    run_data = load_run_data(tiny(data=BOTH))
    episodes = run_data.fixed_episodes("val", EpisodeShape(3, 1, 3), 60, 0, "validate")
    domains = run_data.splits.val.domain_ids()[episodes.classes]
    assert (domains == domains[:, :1]).all()
    assert 15 < int(domains[:, 0].sum()) < 45  # either set, whatever it has of classes
    within = run_data.fixed_episodes("val", EpisodeShape(3, 1, 3), 60, 0, "validate", within_group=True)
    groups = [{run_data.splits.val.groups[c] for c in task} for task in within.classes.tolist()]
    assert set(map(frozenset, groups)) == {frozenset({"glyphs/Lisu"}), frozenset({"image_folder"})}


def _result(path):
    """A stage's result without what may differ: how long it took, and what the run is called."""
    return {k: v for k, v in checkpoints.read(path).items() if k not in {"seconds", "config"}}


def _ledger(folder):
    with Ledger.read(folder.ledger) as ledger:
        return list(dump(ledger))


@pytest.mark.parametrize(("sampler", "choice"), [("boosted_pool", "boosted"), ("neighbours", "size")])
def test_training_on_several_sets_goes_on_exactly_and_scores_each(
    tiny, interrupt_at, same, sampler, choice, tmp_path
):
    sections = {
        "data": BOTH,
        "meta": {"steps": 12, "sets": choice, "validate_every": 6},
        "hard_tasks": nested(sampler, share=0.8, look=2),
    }
    whole, stopped = tiny(run="whole", **sections), tiny(run="stopped", **sections)
    pretrain(whole)
    folders = [RunFolder.of(config) for config in (whole, stopped)]
    folders[1].path.mkdir()
    shutil.copyfile(folders[0].pretrain, folders[1].pretrain)
    meta_train(whole)
    coming = interrupt_at({1, 4, 5, 9})
    for _ in range(4):
        with pytest.raises(Interrupted):
            meta_train(stopped, resume=True)
    meta_train(stopped, resume=True)
    assert not coming
    assert same(*(_result(folder.meta) for folder in folders))
    assert _ledger(folders[0]) == _ledger(folders[1])

    names = load_run_data(whole).splits.train.class_names
    with Ledger.read(folders[0].ledger) as ledger:
        rows = ledger.sql.execute("SELECT step, classes FROM episode").fetchall()
        units = {unit for (unit,) in ledger.sql.execute("SELECT unit FROM round")}
    by_step = {}
    for step, classes in rows:
        ids = torch.frombuffer(bytearray(classes), dtype=torch.uint8).view(-1, 4)[:, 3].tolist()
        by_step.setdefault(step, set()).update(names[c].split("/")[0] for c in ids)
    assert len(by_step) == 12
    assert all(len(sets) == 1 for sets in by_step.values())
    assert set.union(*by_step.values()) == {"glyphs", "image_folder"}
    assert ("set" in units) == (choice == "boosted")


def test_results_keep_the_sets_apart(tiny):
    config = tiny(data=BOTH, evaluate={**QUICK, "settings": [[3, 1], [3, 2]]})
    pretrain(config)
    found = evaluate(config)
    folder = RunFolder.of(config)
    places = [(s.set, s.way, s.shot) for s in found]
    assert places == [(of, 3, k) for of in ("glyphs", "image_folder") for k in (1, 2)]
    for setting in found:
        assert all(c.startswith(f"{setting.set}/") for c in setting.scores[0].class_recall)
    assert found[0].scores[0].task_accuracy != found[2].scores[0].task_accuracy

    again = evaluate(tiny(data=BOTH, evaluate={**QUICK, "sets": ["glyphs"], "tasks": 7}))
    kept = json.loads(folder.results.read_text())["settings"]
    told = {(s["set"], s["shot"]): s["tasks"] for s in kept}
    assert told == {("image_folder", 1): 10, ("image_folder", 2): 10, ("glyphs", 2): 10, ("glyphs", 1): 7}
    assert len(kept) == 4
    assert len(again) == 1
    with Ledger.read(folder.ledger) as ledger:
        phases = {p.name: (p.split, p.episodes) for p in ledger.phases()}
    assert phases["evaluate test glyphs 3-way 1-shot"] == ("test glyphs", 7)
    assert phases["evaluate test image_folder 3-way 1-shot"] == ("test image_folder", 10)

    console = Console(record=True, width=120, file=io.StringIO())
    show(found, console)
    table = console.export_text().split("by image set")[1]
    for name in ("glyphs", "image_folder"):
        (line,) = [line for line in table.splitlines() if f" {name} " in line]
        own = [s.scores[0].accuracy for s in found if s.set == name]
        assert [f"{100 * a:.2f} ±" in line for a in own] == [True, True]
