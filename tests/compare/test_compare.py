"""A comparison of arms from end to end: what it trains, answers, and leaves behind."""

import json

import pytest
import torch
from small_comparison import (
    FIRST,
    QUERIES,
    SECOND,
    SETTINGS,
    SHOT,
    STEPS,
    TASKS,
    TRAIN_IMAGES,
    UNTRIED,
    WAY,
    answered,
    second_run,
)

from mtl import cli
from mtl.compare.study import compare
from mtl.compare.table import to_dict
from mtl.config import load_config, to_yaml
from mtl.episodes.episode import EpisodeShape
from mtl.evaluation.baselines import solve_by_vote, voters
from mtl.evaluation.task_answers import load
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.training.restore import read_pretrained
from mtl.training.run_data import load_run_data

pytestmark = pytest.mark.usefixtures("quick")


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


def test_curves_are_those_of_the_validation(finished):
    for arm in ("uniform", "ohem"):
        folder = second_run(finished.home, arm)
        cell = load(folder / "answers.pt")
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert cell.curve == [(row["step"], row["val"]) for row in map(json.loads, lines)]
        assert [step for step, _ in cell.curve] == [0, 2, 4, 6, 8]
        best = checkpoints.read(folder / "meta.pt")["score"]
        assert best == max(value for _, value in cell.curve)


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
    run_data = load_run_data(config)
    meta, device = checkpoints.read(home / "meta.pt"), choose_device(config.runtime)
    payload = read_pretrained(RunFolder(home), config)
    learners, alphas = voters(meta, payload, config, run_data.splits.train, device)
    assert len(alphas) == 2
    assert min(alphas) > 0
    episodes = run_data.fixed_episodes("test", EpisodeShape(3, 1, 4), 40, 0, "compare")
    for number, weights in enumerate((alphas, [1.0, 1.0])):
        cell = load(home / f"answers-{number}.pt")
        outcome = solve_by_vote(learners, weights, run_data.split_images("test", device), episodes)
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
