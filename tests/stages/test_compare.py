"""The comparison of arms from end to end: what it trains, leaves behind, refuses, and goes on with."""

import dataclasses
import json
import shutil
import signal
from pathlib import Path

import pytest
import torch

from mtl import cli
from mtl.compare.answers import load
from mtl.compare.table import to_dict
from mtl.config import Config, load_config, read_config, to_yaml
from mtl.errors import UserError
from mtl.hard_tasks.ledger import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.interrupt import Interrupted
from mtl.stages import cells, meta_train, pretrain
from mtl.stages import compare as stage
from mtl.stages.compare import compare
from mtl.stages.material import load_material
from mtl.stages.vote import solve_by_vote

STEPS, TASKS, WAY, SHOT, QUERIES, TRAIN_IMAGES = 8, 2, 3, 1, 3, 12 * 12
FIRST, SECOND = 7, 8
SETTINGS = ("3-way 1-shot", "3-way 2-shot")
OHEM = ["hard_tasks.sampler=uniform", "hard_tasks.objective=ohem"]
ARMS = [
    {
        "name": "uniform",
        "change": ["hard_tasks.sampler=uniform"],
        "trials": [["meta.lr*=0.000001"], ["meta.lr*=1"]],
    },
    {
        "name": "boosted pairs",
        "change": ["hard_tasks.sampler=boosted", "hard_tasks.unit=pair"],
        "trials": [["meta.lr*=1"], ["meta.lr*=0.000001", "hard_tasks.share=1.0"]],
    },
    {"name": "ohem", "change": OHEM, "trials": [["hard_tasks.tail=0.4"], ["meta.lr*=0.000001"]]},
]
UNTRIED = [{"name": "uniform", "change": ["hard_tasks.sampler=uniform"]}, {"name": "ohem", "change": OHEM}]
WITHIN = {"name": "in a group", "change": ["hard_tasks.sampler=within_group"]}


@pytest.fixture(scope="module")
def config_of(image_root):
    """Makes configs of tiny comparisons below a folder: `config_of(folder, compare={"seeds": 1})`."""

    def make(below: Path, **sections) -> Config:
        tree = {
            "run": "study",
            "checkpoints": str(below),
            "seed": FIRST,
            "data": {"name": "image_folder", "root": str(image_root), "image_size": 16, "grayscale": True},
            "backbone": {"channels": [4, 4, 8, 8]},
            "pretrain": {"epochs": 2, "batch_size": 48, "validate_tasks": 10},
            "meta": {
                "way": WAY,
                "shot": SHOT,
                "queries": QUERIES,
                "tasks": TASKS,
                "steps": STEPS,
                "lr": 0.03,
                "train": "all",
                "validate_every": 2,
                "validate_tasks": 40,
                "head": {"name": "prototype"},
            },
            "hard_tasks": {"every": 3, "pool": 4, "warm_up": 0.0, "fade": 0.0, "snapshots": 2},
            "evaluate": {"settings": [[3, 1], [3, 2]], "queries": 4, "tasks": 40},
            "compare": {"arms": ARMS, "seeds": 2, "judged_tasks": 20},
            "runtime": {"device": "cpu", "threads": 1},
        }
        for name, section in sections.items():
            tree[name] = {**tree[name], **section} if isinstance(section, dict) else section
        return read_config(tree, "test")

    return make


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few tasks to choose heads on, and no plots: `finished` has drawn them."""
    monkeypatch.setattr(cells, "VALIDATION_TASKS", 30)
    for plot in ("forest", "curves"):
        monkeypatch.setattr(stage.plots, plot, lambda *_: None)


@dataclasses.dataclass
class Finished:
    """A comparison that ran to its end, and what was seen on the way."""

    home: Path
    study: object
    updates: list[Path]  # the run folder of each update of meta-training
    judged: list[tuple[int, str, dict]]  # seed, arm, the judged tasks that it was given


@pytest.fixture(scope="module")
def finished(config_of, tmp_path_factory):
    config = config_of(tmp_path_factory.mktemp("finished"))
    seen = Finished(Path(config.checkpoints) / config.run, None, [], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "VALIDATION_TASKS", 30)
        _spy_on_updates(patch, seen.updates)
        for name in ("arm_cells", "pretrained_cell"):
            patch.setattr(stage, name, _spied(getattr(stage, name), seen.judged))
        seen.study = compare(config)
    return seen


def _spy_on_updates(patch, seen):
    current = []
    plain_train, plain_step = cells.meta_train, meta_train.meta_step

    def train(config, **more):
        current[:] = [Path(config.checkpoints) / config.run]
        return plain_train(config, **more)

    def step(*given, **more):
        seen.append(current[0])
        return plain_step(*given, **more)

    patch.setattr(cells, "meta_train", train)
    patch.setattr(meta_train, "meta_step", step)


def _spied(plain, seen):
    def call(config, arm, material, device, judged, *more):
        seen.append((config.seed, arm, judged))
        return plain(config, arm, material, device, judged, *more)

    return call


@pytest.fixture
def again(config_of, finished, tmp_path):
    """A copy of the finished comparison to go on with: makes its config."""

    def make(**sections):
        shutil.copytree(finished.home, tmp_path / "study", dirs_exist_ok=True)
        return config_of(tmp_path, **sections)

    return make


@pytest.fixture
def no_training(monkeypatch):
    """Every update, of whichever stage, fails."""

    def failing(*_, **__):
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(meta_train, "meta_step", failing)
    monkeypatch.setattr(pretrain, "pretrain_step", failing)


def _answered(home):
    return [load(path) for path in sorted(home.glob("**/answers*.pt"))]


def _numbers(study):
    """Everything in a study but how long things took."""
    return _timeless(to_dict(study))


def _timeless(value):
    if isinstance(value, dict):
        return {
            k: _timeless(v) for k, v in value.items() if not k.startswith("seconds_per") and k != "seconds"
        }
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def _mistake(*given, **more):
    with pytest.raises(UserError) as caught:
        compare(*given, **more)
    return str(caught.value)


def _with_groups(config, groups=("a",) * 6 + ("b",) * 6):
    material = load_material(config)
    train = dataclasses.replace(material.splits.train, groups=groups)
    return dataclasses.replace(material, splits=dataclasses.replace(material.splits, train=train))


def test_it_writes_tables_plots_and_trials(finished):
    kept = json.loads((finished.home / "comparison.json").read_text())
    assert kept == json.loads(json.dumps(to_dict(finished.study)))
    assert [one["setting"] for one in kept["settings"]] == list(SETTINGS)
    text = (finished.home / "comparison.md").read_text()
    for name in SETTINGS:
        assert f"**{name}: 40 tasks, 20 drawn hard**" in text
        png = finished.home / f"differences-{name.replace(' ', '-')}.png"
        assert png.read_bytes().startswith(b"\x89PNG")
    assert (finished.home / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert load_config(finished.home / "config.yaml").compare.reference == "uniform"


def test_the_study_has_every_arm_the_votes_of_its_rounds_and_what_was_only_pretrained(finished):
    names = [result.arm for result in finished.study.settings[SETTINGS[0]]]
    assert names == [
        "uniform",
        "boosted pairs",
        "boosted pairs, vote of 2 rounds, by α",
        "boosted pairs, vote of 2 rounds, each alike",
        "ohem",
        "pretrained",
        "pretrained longer",
    ]
    assert finished.study.seeds == (FIRST, SECOND)
    assert all(r.seeds == (FIRST, SECOND) for name in SETTINGS for r in finished.study.settings[name])


def test_all_arms_and_seeds_answer_the_same_tasks(finished):
    found = _answered(finished.home)
    assert len(found) == 2 * 7
    for name in SETTINGS:
        first = found[0].answers[name]
        assert first.classes.shape == (40, 3)
        assert len({str(sorted(task)) for task in first.classes.tolist()}) > 10
        for cell in found:
            assert torch.equal(cell.answers[name].classes, first.classes)
            assert cell.answers[name].queries == 4
            assert len(cell.answers[name].judged) == 20


def test_all_arms_of_a_seed_answer_the_same_judged_tasks_and_other_seeds_others(finished):
    given = {seed: [j for s, _, j in finished.judged if s == seed] for seed in (FIRST, SECOND)}
    arms = [{arm for s, arm, _ in finished.judged if s == seed} for seed in given]
    assert arms == [{"uniform", "boosted pairs", "ohem", "pretrained", "pretrained longer"}] * 2
    for judged in given.values():
        for name in SETTINGS:
            images = [one[name].image_indices() for one in judged]
            assert all(torch.equal(one, images[0]) for one in images)
    one, other = (given[seed][0][SETTINGS[0]].image_indices() for seed in given)
    assert not torch.equal(one, other)


def test_the_chosen_trial_has_the_best_validation_accuracy(finished):
    told = json.loads((finished.home / "trials.json").read_text())
    assert list(told) == [arm["name"] for arm in ARMS]
    for arm in ARMS:
        one = told[arm["name"]]
        assert one["trials"] == arm["trials"]
        folder = finished.home / "trials" / arm["name"].replace(" ", "-")
        assert one["scores"] == [checkpoints.read(folder / n / "meta.pt")["score"] for n in ("0", "1")]
        best = one["scores"].index(max(one["scores"]))
        assert one["chosen"] == arm["trials"][best]
        assert (folder / str(best) / "answers.pt").exists()
        assert not (folder / str(1 - best) / "answers.pt").exists()
    uniform, ohem = (told[name]["scores"] for name in ("uniform", "ohem"))
    assert uniform[0] < uniform[1]  # neither always the first nor always the last is the best
    assert ohem[0] > ohem[1]


def _second(home, name):
    """The folder of an arm with the second seed: of the trial that was chosen."""
    told = json.loads((home / "trials.json").read_text())[name]
    number = told["trials"].index(told["chosen"])
    return home / f"seed-{SECOND}" / name.replace(" ", "-") / str(number)


def test_the_other_seeds_train_with_the_chosen_trial(finished):
    told = json.loads((finished.home / "trials.json").read_text())
    for arm in ARMS:
        made = load_config(_second(finished.home, arm["name"]) / "config.yaml")
        rates = [float(x.split("=")[1]) for x in told[arm["name"]]["chosen"] if x.startswith("meta.lr")]
        assert made.seed == SECOND
        assert made.meta.lr == pytest.approx(0.03 * (rates or [1.0])[0])
        assert made.hard_tasks.tail == (0.4 if arm["name"] == "ohem" else 0.5)


def test_a_trial_of_the_first_seed_is_its_run_and_no_training_is_made_twice(finished):
    home = finished.home
    folders = [home / "trials" / a["name"].replace(" ", "-") / n for a in ARMS for n in ("0", "1")]
    folders += [_second(home, a["name"]) for a in ARMS]
    assert {folder: finished.updates.count(folder) for folder in finished.updates} == dict.fromkeys(
        folders, STEPS
    )
    assert {p.name for p in (home / f"seed-{FIRST}").iterdir()} == {"pretrained", "pretrained-longer"}


def test_every_arm_of_a_seed_starts_from_the_one_pretrained_checkpoint(finished):
    for seed in (FIRST, SECOND):
        wanted = (finished.home / f"seed-{seed}" / "pretrained" / "pretrain.pt").read_bytes()
        below = finished.home / ("trials" if seed == FIRST else f"seed-{SECOND}")
        copies = [p for p in below.glob("**/pretrain.pt") if not p.parent.name.startswith("pretrained")]
        assert len(copies) == (6 if seed == FIRST else 3)
        assert all(p.read_bytes() == wanted for p in copies)


def test_pretraining_longer_sees_as_many_more_images_as_meta_training(finished):
    images = STEPS * TASKS * WAY * (SHOT + QUERIES)
    extra = -(-images // TRAIN_IMAGES)
    assert extra == 2
    for seed in (FIRST, SECOND):
        folder = finished.home / f"seed-{seed}" / "pretrained-longer"
        assert load_config(folder / "config.yaml").pretrain.epochs == 2 + extra
        assert load(folder / "answers.pt").images == (2 + extra) * TRAIN_IMAGES
        assert load(folder.with_name("pretrained") / "answers.pt").images == 2 * TRAIN_IMAGES
    assert {c.images for c in finished.study.costs.values()} == {images, 2 * TRAIN_IMAGES, 4 * TRAIN_IMAGES}


def test_curves_are_those_of_the_validation(finished):
    for arm in ("uniform", "ohem"):
        folder = _second(finished.home, arm)
        cell = load(folder / "answers.pt")
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert cell.curve == [(row["step"], row["val"]) for row in map(json.loads, lines)]
        assert [step for step, _ in cell.curve] == [0, 2, 4, 6, 8]
        best = checkpoints.read(folder / "meta.pt")["score"]
        assert best == max(value for _, value in cell.curve)


def test_no_ledger_is_left_of_arms_that_have_ended(finished):
    assert not list(finished.home.glob("**/hard_tasks.sqlite*"))


def test_ledgers_are_kept_where_the_comparison_says_so(config_of, tmp_path):
    config = config_of(tmp_path, compare={"arms": UNTRIED, "seeds": 1, "longer": False, "keep_ledgers": True})
    compare(config)
    for arm in ("uniform", "ohem"):
        with Ledger.read(tmp_path / "study" / f"seed-{FIRST}" / arm / "hard_tasks.sqlite") as ledger:
            assert sum(phase.episodes for phase in ledger.phases()) == STEPS * TASKS


def test_a_comparison_that_exists_is_not_overwritten(again):
    config = again()
    before = {p: p.stat().st_mtime_ns for p in Path(config.checkpoints).glob("**/*")}
    told = _mistake(config)
    assert told.count("\n") == 0
    assert "compare was begun there already; --resume goes on with it, run=NAME starts another" in told
    assert {p: p.stat().st_mtime_ns for p in Path(config.checkpoints).glob("**/*")} == before


@pytest.mark.usefixtures("no_training")
def test_a_finished_comparison_resumes_without_training_and_with_the_same_study(again, finished):
    config = again()
    trained = {p: p.stat().st_mtime_ns for p in Path(config.checkpoints).glob("**/*.pt")}
    study = compare(config, resume=True)
    assert json.dumps(to_dict(study)) == json.dumps(to_dict(finished.study))
    assert {p: p.stat().st_mtime_ns for p in Path(config.checkpoints).glob("**/*.pt")} == trained


def test_interruptions_and_seeds_that_run_apart_change_nothing(config_of, finished, tmp_path, monkeypatch):
    config, home = config_of(tmp_path), tmp_path / "study"
    second = {
        name: home / _second(finished.home, name).relative_to(finished.home)
        for name in ("ohem", "boosted pairs")
    }
    at_once = [home / "trials" / "ohem" / "1", second["ohem"]]
    gently = [home / "trials" / "ohem" / "0", second["boosted pairs"]]
    seen, kinds = [], []
    _spy_on_updates(monkeypatch, seen)
    plain = meta_train.meta_step

    def stopped(*given, **more):
        found = plain(*given, **more)
        if seen.count(seen[-1]) == 4 and seen[-1] in at_once:
            raise KeyboardInterrupt
        if seen.count(seen[-1]) == 4 and seen[-1] in gently:
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(meta_train, "meta_step", stopped)
    for seed in (FIRST, SECOND):
        while True:
            try:
                study = compare(config, resume=True, seeds=[seed])
                break
            except KeyboardInterrupt as error:
                kinds.append(type(error))
        assert (home / f"seed-{SECOND}").exists() == (seed == SECOND)
    assert kinds == [Interrupted, KeyboardInterrupt, Interrupted, KeyboardInterrupt]
    assert {folder: seen.count(folder) for folder in at_once} == dict.fromkeys(at_once, 4 + STEPS)
    assert {folder: seen.count(folder) for folder in gently} == dict.fromkeys(gently, STEPS)
    assert _numbers(study) == _numbers(finished.study)
    for one, other in zip(_answered(home), _answered(finished.home), strict=True):
        assert (one.arm, one.seed, one.curve) == (other.arm, other.seed, other.curve)
        for name in SETTINGS:
            assert torch.equal(one.answers[name].right, other.answers[name].right)
            assert torch.equal(one.answers[name].judged, other.answers[name].judged)


def test_only_the_seeds_that_are_asked_for_are_trained(config_of, tmp_path):
    config = config_of(tmp_path, compare={"arms": UNTRIED, "longer": False})
    study = compare(config, seeds=[SECOND])
    assert study.seeds == (SECOND,)
    assert [p.name for p in (tmp_path / "study").glob("seed-*")] == [f"seed-{SECOND}"]
    both = compare(config, resume=True, seeds=[FIRST])
    assert both.seeds == (FIRST, SECOND)


def test_another_seed_waits_for_the_trials_of_the_first(config_of, tmp_path):
    told = _mistake(config_of(tmp_path), seeds=[SECOND])
    assert "trials.json: is not there yet; trials are made with seed 7, which comes first" in told
    assert not list(tmp_path.iterdir())  # else the first seed, when it comes, was begun there already


def test_a_seed_that_is_none_of_the_comparison_is_refused(again):
    told = _mistake(again(), resume=True, seeds=[FIRST, 99])
    assert "99" in told
    assert told.count("\n") == 0


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    "changed",
    [
        {"evaluate": {"tasks": 41}},
        {"evaluate": {"queries": 3}},
        {"compare": {"judged_tasks": 21}},
    ],
    ids=str,
)
def test_going_on_with_other_tasks_is_refused(again, changed):
    before = again()
    text = (Path(before.checkpoints) / "study" / "config.yaml").read_text()
    told = _mistake(again(**changed), resume=True)
    assert told.count("\n") == 0
    assert "answers are to other tasks" in told
    assert (Path(before.checkpoints) / "study" / "config.yaml").read_text() == text


@pytest.mark.parametrize("seeds", [None, [SECOND]], ids=str)
@pytest.mark.parametrize(
    "changed", [{"meta": {"lr": 0.5}}, {"hard_tasks": {"pool": 5}}, {"pretrain": {"lr": 0.2}}], ids=str
)
def test_going_on_with_other_training_is_refused(again, changed, seeds):
    """Arms that are there would be held against arms of another config, as if only the arm had changed."""
    told = _mistake(again(**changed), resume=True, seeds=seeds)
    section, key = next((s, k) for s, v in changed.items() for k in v)
    assert f"{section}.{key}" in told


def test_an_arm_that_is_added_later_is_trained_alone(again, finished, monkeypatch):
    seen = []
    config = again(compare={"arms": [*ARMS, {**ARMS[2], "name": "added"}]})
    _spy_on_updates(monkeypatch, seen)
    study = compare(config, resume=True)
    assert len(seen) == 3 * STEPS
    assert {folder.parent.name if folder.name.isdigit() else folder.name for folder in seen} == {"added"}
    results = {r.arm: r for r in study.settings[SETTINGS[0]]}
    assert results["added"].absolute == results["ohem"].absolute
    before = {r.arm: r for r in finished.study.settings[SETTINGS[0]]}
    assert results["uniform"].absolute == before["uniform"].absolute


def test_trials_that_are_added_later_count_for_all_seeds(config_of, tmp_path):
    """A trial that is chosen now is not held to be what the other seeds have been trained with before."""
    poor, good = ["meta.lr*=0.000001"], ["meta.lr*=1"]
    compared = {"longer": False, "judged_tasks": 0}
    compare(config_of(tmp_path, compare={**compared, "arms": [{**UNTRIED[0], "trials": [poor]}]}))
    more = config_of(tmp_path, compare={**compared, "arms": [{**UNTRIED[0], "trials": [poor, good]}]})
    compare(more, resume=True)
    assert json.loads((tmp_path / "study" / "trials.json").read_text())["uniform"]["chosen"] == good
    made = load_config(_second(tmp_path / "study", "uniform") / "config.yaml")
    assert made.meta.lr == more.meta.lr


def test_an_arm_alone_is_refused_before_anything_is_written_or_ends_in_a_table(
    config_of, tmp_path, monkeypatch
):
    monkeypatch.undo()  # plots are drawn
    config = config_of(
        tmp_path, compare={"arms": UNTRIED[:1], "seeds": 1, "longer": False, "judged_tasks": 0}
    )
    try:
        study = compare(config)
    except UserError:
        assert not list(tmp_path.iterdir())
    else:
        assert [r.arm for r in study.settings[SETTINGS[0]]] == ["uniform"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("pretrain.epochs=3", r"pretrain\.epochs=3: an arm may change keys of meta and hard_tasks alone"),
        ("seed=3", r"seed=3: an arm may change keys of meta and hard_tasks alone"),
        ("meta.steps=9", "makes 9 updates on 216 images, uniform 8 on 192"),
        ("meta.tasks=4", "makes 8 updates on 384 images, uniform 8 on 192"),
        ("meta.queries=2", "makes 8 updates on 144 images, uniform 8 on 192"),
        ("hard_tasks.budget=extra", "makes 13 updates on 312 images, uniform 8 on 192"),
        ("meta.wya=5", r"meta\.wya: no such key; did you mean meta\.way\?"),
        ("meta.train*=2", r"meta\.train\*=2: \*= multiplies a number of the config by a number"),
    ],
)
@pytest.mark.parametrize("place", ["change", "trials"])
def test_an_arm_that_is_not_like_the_others_is_refused_before_anything_is_written(
    config_of, tmp_path, place, change, words
):
    odd = {"name": "odd one", "change": ["hard_tasks.sampler=meta_batch", "hard_tasks.collect=8"]}
    if place == "change":
        arms = [UNTRIED[0], {**odd, "change": [*odd["change"], change]}]
    else:
        arms = [{**UNTRIED[0], "trials": [["meta.lr*=1"]]}, {**odd, "trials": [[change]]}]
    config = config_of(tmp_path, compare={"arms": arms})
    with pytest.raises(UserError, match=words) as caught:
        compare(config)
    assert str(caught.value).startswith("compare.arms: odd one")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        ["meta.way=6", "meta.queries=1"],  # of 5 validation classes
        ["meta.validate_within_group=true"],  # of no groups
    ],
    ids=lambda change: change[0],
)
def test_an_arm_that_the_image_set_cannot_serve_is_refused_before_anything_is_written(
    config_of, tmp_path, change
):
    wide = {"name": "odd one", "change": [*UNTRIED[0]["change"], *change]}
    config = config_of(tmp_path, compare={"arms": [UNTRIED[0], wide], "seeds": 1, "longer": False})
    told = _mistake(config)
    assert told.count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_arms_within_groups_are_left_out_where_the_set_has_none(config_of, tmp_path, capsys):
    config = config_of(tmp_path, compare={"arms": [*UNTRIED, WITHIN], "seeds": 1, "longer": False})
    study = compare(config)
    assert "compare: image_folder has no groups of classes; left out: in a group" in capsys.readouterr().err
    assert [r.arm for r in study.settings[SETTINGS[0]]] == ["uniform", "ohem"]
    assert not (tmp_path / "study" / f"seed-{FIRST}" / "in-a-group").exists()


def test_arms_that_are_left_out_do_not_keep_seeds_from_running_apart(config_of, tmp_path):
    arms = [{**UNTRIED[0], "trials": [[]]}, {**WITHIN, "trials": [[]]}]
    config = config_of(tmp_path, compare={"arms": arms, "longer": False, "judged_tasks": 0})
    compare(config, seeds=[FIRST])
    assert compare(config, resume=True, seeds=[SECOND]).seeds == (FIRST, SECOND)


def test_arms_within_groups_take_part_where_the_set_has_groups(config_of, tmp_path, capsys):
    config = config_of(tmp_path, compare={"arms": [UNTRIED[0], WITHIN], "seeds": 1, "longer": False})
    study = compare(config, material=_with_groups(config))
    assert "left out" not in capsys.readouterr().err
    assert "in a group" in [r.arm for r in study.settings[SETTINGS[0]]]


def test_a_reference_that_would_be_left_out_is_refused_before_anything_is_written(config_of, tmp_path):
    config = config_of(tmp_path, compare={"arms": [*UNTRIED, WITHIN], "reference": "in a group"})
    told = _mistake(config)
    assert "in a group" in told
    assert not list(tmp_path.iterdir())


def test_a_trial_within_groups_is_left_out_or_refused_before_anything_is_written(config_of, tmp_path):
    arms = [
        {**UNTRIED[0], "trials": [["meta.lr*=1"]]},
        {"name": "in a group", "trials": [["hard_tasks.sampler=within_group"]]},
    ]
    config = config_of(tmp_path, compare={"arms": arms, "seeds": 1, "longer": False})
    try:
        study = compare(config)
    except UserError:
        assert not list(tmp_path.iterdir())
    else:
        assert [r.arm for r in study.settings[SETTINGS[0]]] == ["uniform"]


def test_without_judged_tasks_and_without_longer_there_are_the_arms_alone(config_of, tmp_path):
    compared = {"arms": UNTRIED, "seeds": 1, "longer": False, "judged_tasks": 0}
    study = compare(config_of(tmp_path, compare=compared))
    assert [r.arm for r in study.settings[SETTINGS[0]]] == ["uniform", "ohem"]
    assert study.tasks == dict.fromkeys(SETTINGS, (40, 0))
    assert not (tmp_path / "study" / f"seed-{FIRST}" / "pretrained-longer").exists()
    assert "drawn hard**" not in (tmp_path / "study" / "comparison.md").read_text()


def test_votes_of_an_arm_are_those_of_the_networks_that_it_kept(finished):
    """Both rows are there for boosting; each cell answers as its networks vote, by hand."""
    home = next(p.parent for p in finished.home.glob("trials/boosted-pairs/*/answers-0.pt"))
    config = load_config(home / "config.yaml")
    material = load_material(config)
    meta, device = checkpoints.read(home / "meta.pt"), stage.choose_device(config.runtime)
    payload = cells.read_pretrained(cells.RunFolder(home), config)
    learners, alphas = cells.voters(meta, payload, config, material.splits.train, device)
    assert len(alphas) == 2
    assert min(alphas) > 0
    episodes = material.fixed_episodes("test", 3, 1, 4, 40, 0, "compare")
    for number, weights in enumerate((alphas, [1.0, 1.0])):
        cell = load(home / f"answers-{number}.pt")
        outcome = solve_by_vote(learners, weights, material.pictures("test", device), episodes)
        assert torch.equal(cell.answers[SETTINGS[0]].classes, episodes.classes)
        torch.testing.assert_close(cell.answers[SETTINGS[0]].recall, outcome.recall)
        assert cell.curve == []


def test_the_command_line_compares_and_shows_a_table_a_setting(again, capsys, tmp_path, monkeypatch):
    config = again()
    path = tmp_path / "study.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert cli.main(["compare", "--config", str(path), "--resume", "--seeds", "7,8"]) == 0
    shown = capsys.readouterr().out
    for name in SETTINGS:
        assert f"{name}: 40 tasks, 20 drawn hard" in shown
        assert shown.count("pretrained longer") == len(SETTINGS)
    assert cli.main(["compare", "--config", str(path)]) == 2
    assert "compare was begun there already" in capsys.readouterr().err


def test_overrides_may_stand_behind_the_seeds(again, capsys, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(to_yaml(again()), encoding="utf-8")
    assert cli.main(["compare", "--config", str(path), "--resume", "--seeds", "7", "run=study"]) == 0
