"""A comparison that goes on where it stopped, seed by seed or with more arms; and when it may not."""

import json
import signal
from pathlib import Path

import pytest
import torch
from small_comparison import (
    ARMS,
    FIRST,
    SECOND,
    SETTINGS,
    STEPS,
    UNTRIED,
    answered,
    mistake,
    run_of,
    spy_on_updates,
    timeless,
)

from mtl.compare.study import compare
from mtl.compare.table import to_dict
from mtl.runtime.process import Interrupted
from mtl.training import meta_train

pytestmark = pytest.mark.usefixtures("quick")


def test_a_comparison_that_exists_is_not_overwritten(again):
    config = again()
    before = {p: p.stat().st_mtime_ns for p in Path(config.checkpoints).glob("**/*")}
    message = mistake(config)
    assert message.count("\n") == 0
    assert "compare was begun there already; --resume goes on with it, run=NAME starts another" in message
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
        name: home / run_of(finished.home, name, SECOND).relative_to(finished.home)
        for name in ("ohem", "boosted pairs")
    }
    at_once = [home / "trials" / "seed-9" / "ohem" / "1", second["ohem"]]
    gently = [home / "trials" / "seed-9" / "ohem" / "0", second["boosted pairs"]]
    seen, kinds = [], []
    spy_on_updates(monkeypatch, seen)
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
    assert timeless(to_dict(study)) == timeless(to_dict(finished.study))
    for one, other in zip(answered(home), answered(finished.home), strict=True):
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


def test_a_seed_that_is_none_of_the_comparison_is_refused(again):
    message = mistake(again(), resume=True, seeds=[FIRST, 99])
    assert "99" in message
    assert message.count("\n") == 0


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    "changed",
    [{"evaluate": {"tasks": 41}}, {"evaluate": {"queries": 3}}, {"compare": {"judged_tasks": 21}}],
    ids=str,
)
def test_going_on_with_other_tasks_is_refused(again, changed):
    before = again()
    text = (Path(before.checkpoints) / "study" / "config.yaml").read_text()
    message = mistake(again(**changed), resume=True)
    assert message.count("\n") == 0
    assert "answers are to other tasks" in message
    assert (Path(before.checkpoints) / "study" / "config.yaml").read_text() == text


@pytest.mark.parametrize("seeds", [None, [SECOND]], ids=str)
@pytest.mark.parametrize(
    "changed", [{"meta": {"lr": 0.5}}, {"hard_tasks": {"every": 4}}, {"pretrain": {"lr": 0.2}}], ids=str
)
def test_going_on_with_other_training_is_refused(again, changed, seeds):
    """Arms that are there would be held against arms of another config, as if only the arm had changed."""
    message = mistake(again(**changed), resume=True, seeds=seeds)
    section, key = next((s, k) for s, v in changed.items() for k in v)
    assert f"{section}.{key}" in message


def test_an_arm_that_is_added_later_is_trained_alone(again, finished, monkeypatch):
    seen = []
    config = again(compare={"arms": [*ARMS, {**ARMS[2], "name": "added"}]})
    spy_on_updates(monkeypatch, seen)
    study = compare(config, resume=True)
    assert len(seen) == 6 * STEPS  # two trials and the chosen one, with two seeds each
    assert {folder.parent.name if folder.name.isdigit() else folder.name for folder in seen} == {"added"}
    results = {r.arm: r for r in study.settings[SETTINGS[0]]}
    assert results["added"].absolute == results["ohem"].absolute
    before = {r.arm: r for r in finished.study.settings[SETTINGS[0]]}
    assert results["uniform"].absolute == before["uniform"].absolute


def test_an_arm_that_is_no_longer_what_was_trained_is_refused(again):
    arms = [{**arm, "change": [*arm.get("change", []), "meta.head.scale=9"]} for arm in ARMS]
    assert "meta.head.scale" in mistake(again(compare={"arms": [*ARMS[:2], arms[2]]}), resume=True)
