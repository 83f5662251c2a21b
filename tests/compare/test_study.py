"""A comparison from end to end: the arms it takes, what it trains, answers, and leaves behind."""

import itertools
import json
from functools import partial

import pytest
import torch
from small_comparison import (
    ARMS,
    FIRST,
    QUERIES,
    SECOND,
    SETTINGS,
    SHOT,
    STEPS,
    TASKS,
    TRAIN_IMAGES,
    TRIAL_SEEDS,
    UNTRIED,
    WAY,
    answered,
    mistake,
    run_of,
    trial_runs,
)

from mtl import cli
from mtl.compare.study import compare, only_arms
from mtl.compare.table import to_dict
from mtl.config import load_config, to_yaml
from mtl.episodes.episode import EpisodeShape
from mtl.errors import UserError
from mtl.evaluation.task_answers import load
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.training.restore import (
    learner_from_pretrained,
    meta_trained_learner,
    read_pretrained,
    voting,
)
from mtl.training.run_data import load_run_data
from mtl.training.solve import solve_episodes

pytestmark = pytest.mark.usefixtures("quick")

WITHIN = {"name": "in a group", "change": ["hard_tasks.sampler=within_group"]}


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
    found = answered(finished.home)
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


def test_without_judged_tasks_and_without_longer_there_are_the_arms_alone(config_of, tmp_path):
    compared = {"arms": UNTRIED, "seeds": 1, "longer": False, "judged_tasks": 0}
    study = compare(config_of(tmp_path, compare=compared))
    assert [r.arm for r in study.settings[SETTINGS[0]]] == ["uniform", "ohem"]
    assert study.tasks == dict.fromkeys(SETTINGS, (40, 0))
    assert not (tmp_path / "study" / f"seed-{FIRST}" / "pretrained-longer").exists()
    assert "drawn hard**" not in (tmp_path / "study" / "comparison.md").read_text()


def test_votes_of_an_arm_are_those_of_the_networks_that_it_kept(finished):
    """Both rows are there for boosting; each cell answers as its networks vote, by hand."""
    home = run_of(finished.home, "boosted pairs", FIRST)
    config = load_config(home / "config.yaml")
    run_data = load_run_data(config)
    meta, device = checkpoints.read(home / "meta.pt"), choose_device(config.runtime)
    payload = read_pretrained(RunFolder(home), config)
    start = partial(learner_from_pretrained, payload, config, run_data.splits.train, device)
    alphas = [one["alpha"] for one in meta["snapshots"]]
    assert len(alphas) == 2
    assert min(alphas) > 0
    episodes = run_data.fixed_episodes("test", EpisodeShape(3, 1, 4), 40, 0, "compare")
    for number, by_alpha in enumerate((True, False)):
        cell = load(home / f"answers-{number}.pt")
        committee = voting(meta["snapshots"], start, by_alpha)
        outcome = solve_episodes(committee, run_data.split_images("test", device), episodes)
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
    assert cli.main(["compare", "--config", str(path), "--resume", "--seeds", "7", "run=study"]) == 0
    capsys.readouterr()
    assert cli.main(["compare", "--config", str(path)]) == 2
    assert "compare was begun there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("seed=3", r"seed=3: an arm may change keys of meta and hard_tasks alone"),
        ("meta.tasks=4", "makes 8 updates on 384 images, uniform 8 on 192"),
        ("hard_tasks.meta_batch.budget=extra", "makes 13 updates on 312 images, uniform 8 on 192"),
    ],
)
def test_an_arm_that_is_not_like_the_others_is_refused_before_anything_is_written(
    config_of, tmp_path, change, words
):
    odd = {
        "name": "odd one",
        "change": ["hard_tasks.sampler=meta_batch", "hard_tasks.meta_batch.collect=8", change],
    }
    with pytest.raises(UserError, match=words) as caught:
        compare(config_of(tmp_path, compare={"arms": [UNTRIED[0], odd]}))
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
    message = mistake(config)
    assert message.count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_arms_within_groups_are_left_out_where_the_set_has_none(config_of, tmp_path, capsys):
    config = config_of(tmp_path, compare={"arms": [*UNTRIED, WITHIN], "seeds": 1, "longer": False})
    study = compare(config)
    assert "compare: image_folder has no groups of classes; left out: in a group" in capsys.readouterr().err
    assert [r.arm for r in study.settings[SETTINGS[0]]] == ["uniform", "ohem"]
    assert not (tmp_path / "study" / f"seed-{FIRST}" / "in-a-group").exists()


def test_any_seed_alone_makes_the_trials_of_the_arms_that_are_not_left_out(config_of, tmp_path):
    in_its_trial = {"name": "in a group", "trials": [["hard_tasks.sampler=within_group"]]}
    arms = [{**UNTRIED[0], "trials": [[]]}, in_its_trial]
    config = config_of(tmp_path, compare={"arms": arms, "longer": False, "judged_tasks": 0})
    assert compare(config, seeds=[SECOND]).seeds == (SECOND,)
    assert {p.parent.name for p in (tmp_path / "study" / "trials").glob("seed-*/*/0")} == {"uniform"}
    assert compare(config, resume=True, seeds=[FIRST]).seeds == (FIRST, SECOND)


def test_arms_within_groups_take_part_where_the_set_has_groups(config_of, in_groups, tmp_path, capsys):
    config = config_of(tmp_path, compare={"arms": [UNTRIED[0], WITHIN], "seeds": 1, "longer": False})
    study = compare(config, run_data=in_groups(config, ("a",) * 6 + ("b",) * 6))
    assert "left out" not in capsys.readouterr().err
    assert "in a group" in [r.arm for r in study.settings[SETTINGS[0]]]


def test_a_reference_that_would_be_left_out_is_refused_before_anything_is_written(config_of, tmp_path):
    config = config_of(tmp_path, compare={"arms": [*UNTRIED, WITHIN], "reference": "in a group"})
    message = mistake(config)
    assert "in a group" in message
    assert not list(tmp_path.iterdir())


def test_an_arm_alone_ends_in_a_table(config_of, tmp_path, monkeypatch):
    monkeypatch.undo()  # plots are drawn
    config = config_of(
        tmp_path, compare={"arms": UNTRIED[:1], "seeds": 1, "longer": False, "judged_tasks": 0}
    )
    assert [r.arm for r in compare(config).settings[SETTINGS[0]]] == ["uniform"]


def _validation_accuracy(run):
    """Of a finished trial, from its checkpoints: on 40 validation tasks that follow from the first seed."""
    config, folder = load_config(run / "config.yaml"), RunFolder(run)
    run_data = load_run_data(config)
    device = choose_device(config.runtime)
    pretrained = read_pretrained(folder, config)
    learner = meta_trained_learner(
        checkpoints.read(folder.meta), pretrained, config, run_data.splits.train, device
    )
    tasks = run_data.fixed_episodes("val", EpisodeShape(WAY, SHOT, QUERIES), 40, FIRST, "trials")
    return float(solve_episodes(learner, run_data.split_images("val", device), tasks).accuracy.mean())


def test_the_chosen_trial_has_the_best_mean_accuracy_on_validation_tasks_over_seeds_not_compared(finished):
    choice = json.loads((finished.home / "trials.json").read_text())
    assert list(choice) == [arm["name"] for arm in ARMS]
    for arm in ARMS:
        one = choice[arm["name"]]
        assert one["trials"] == arm["trials"]
        runs = trial_runs(finished.home, arm["name"])
        scores = [[_validation_accuracy(run) for run in of_trial] for of_trial in runs]
        assert one["scores"] == [pytest.approx(sum(s) / 2) for s in scores]
        assert one["chosen"] == arm["trials"][one["scores"].index(max(one["scores"]))]
        assert not any((run / "answers.pt").exists() for of_trial in runs for run in of_trial)
    uniform, ohem = (choice[name]["scores"] for name in ("uniform", "ohem"))
    assert uniform[0] < uniform[1]  # neither always the first nor always the last is the best
    assert ohem[0] > ohem[1]


def test_all_seeds_train_with_the_chosen_trial(finished):
    choice = json.loads((finished.home / "trials.json").read_text())
    for arm, seed in itertools.product(ARMS, (FIRST, SECOND)):
        made = load_config(run_of(finished.home, arm["name"], seed) / "config.yaml")
        rates = [float(x.split("=")[1]) for x in choice[arm["name"]]["chosen"] if x.startswith("meta.lr")]
        assert made.seed == seed
        assert made.meta.lr == pytest.approx(0.03 * (rates or [1.0])[0])
        assert made.hard_tasks.tail == (0.4 if arm["name"] == "ohem" else 0.5)


def test_no_training_is_made_twice(finished):
    home = finished.home
    folders = [run for a in ARMS for of_trial in trial_runs(home, a["name"]) for run in of_trial]
    folders += [run_of(home, a["name"], seed) for a in ARMS for seed in (FIRST, SECOND)]
    assert {folder: finished.updates.count(folder) for folder in finished.updates} == dict.fromkeys(
        folders, STEPS
    )


def test_trials_that_are_added_later_count_for_all_seeds(config_of, tmp_path):
    """A trial that is chosen now is not held to be what the other seeds have been trained with before."""
    poor, good = ["meta.lr*=0.000001"], ["meta.lr*=1"]
    compared = {"longer": False, "judged_tasks": 0}
    compare(config_of(tmp_path, compare={**compared, "arms": [{**UNTRIED[0], "trials": [poor]}]}))
    more = config_of(tmp_path, compare={**compared, "arms": [{**UNTRIED[0], "trials": [poor, good]}]})
    compare(more, resume=True)
    assert json.loads((tmp_path / "study" / "trials.json").read_text())["uniform"]["chosen"] == good
    made = load_config(run_of(tmp_path / "study", "uniform", SECOND) / "config.yaml")
    assert made.meta.lr == more.meta.lr


def test_every_arm_of_a_seed_starts_from_the_one_pretrained_checkpoint(finished):
    for seed in (FIRST, SECOND, *TRIAL_SEEDS):
        below = finished.home / ("trials" if seed in TRIAL_SEEDS else "") / f"seed-{seed}"
        wanted = (below / "pretrained" / "pretrain.pt").read_bytes()
        copies = [p for p in below.glob("**/pretrain.pt") if not p.parent.name.startswith("pretrained")]
        assert len(copies) == (6 if seed in TRIAL_SEEDS else 3)
        assert all(p.read_bytes() == wanted for p in copies)


def test_no_ledger_is_left_of_arms_that_have_ended(finished):
    assert not list(finished.home.glob("**/hard_tasks.sqlite*"))


def test_ledgers_are_kept_where_the_comparison_says_so(config_of, tmp_path):
    config = config_of(tmp_path, compare={"arms": UNTRIED, "seeds": 1, "longer": False, "keep_ledgers": True})
    compare(config)
    for arm in ("uniform", "ohem"):
        with Ledger.read(tmp_path / "study" / f"seed-{FIRST}" / arm / "hard_tasks.sqlite") as ledger:
            assert sum(phase.episodes for phase in ledger.phases()) == STEPS * TASKS


def test_some_arms_alone_are_compared_as_they_are_without_trials(config_of, tmp_path):
    config = config_of(tmp_path, compare={"trial_seeds": 0, "longer": False, "judged_tasks": 0, "seeds": 1})
    study = compare(only_arms(config, "ohem, uniform"))
    assert [r.arm for r in study.settings[SETTINGS[0]]] == ["uniform", "ohem"]
    home = tmp_path / "study"
    assert {p.name for p in (home / f"seed-{FIRST}").iterdir()} == {"pretrained", "uniform", "ohem"}
    assert not (home / "trials").exists()
    assert load_config(home / f"seed-{FIRST}" / "uniform" / "config.yaml").meta.lr == config.meta.lr


def test_names_of_arms_may_have_commas(config_of, tmp_path):
    arms = [{"name": name, "change": []} for name in ("a", "a, b", "b", "c")]
    config = config_of(tmp_path, compare={"arms": arms, "reference": "c"})
    for text, names in (
        ("a,b,c", ["a, b", "c"]),
        ("b, a,c", ["a", "b", "c"]),
        ("a,a,b,c", ["a", "a, b", "c"]),
    ):
        assert [arm.name for arm in only_arms(config, text).compare.arms] == names


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("uniform,ohm", ("'ohm'", "boosted pairs, ohem")),
        ("ohem", ("uniform is missing", "to one of ohem")),
    ],
)
def test_arms_that_cannot_be_compared_alone_are_refused(config_of, tmp_path, names, words):
    with pytest.raises(UserError) as caught:
        only_arms(config_of(tmp_path), names)
    assert str(caught.value).startswith("--arms: ")
    assert all(word in str(caught.value) for word in words)
