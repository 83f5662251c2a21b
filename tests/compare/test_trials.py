"""The runs of a comparison: the trial of each arm that is chosen, and what all of its seeds begin with."""

import json

import pytest
from small_comparison import ARMS, FIRST, SECOND, STEPS, TASKS, UNTRIED, mistake, second_run

from mtl.compare.study import compare
from mtl.config import load_config
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints

pytestmark = pytest.mark.usefixtures("quick")


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


def test_the_other_seeds_train_with_the_chosen_trial(finished):
    told = json.loads((finished.home / "trials.json").read_text())
    for arm in ARMS:
        made = load_config(second_run(finished.home, arm["name"]) / "config.yaml")
        rates = [float(x.split("=")[1]) for x in told[arm["name"]]["chosen"] if x.startswith("meta.lr")]
        assert made.seed == SECOND
        assert made.meta.lr == pytest.approx(0.03 * (rates or [1.0])[0])
        assert made.hard_tasks.tail == (0.4 if arm["name"] == "ohem" else 0.5)


def test_a_trial_of_the_first_seed_is_its_run_and_no_training_is_made_twice(finished):
    home = finished.home
    folders = [home / "trials" / a["name"].replace(" ", "-") / n for a in ARMS for n in ("0", "1")]
    folders += [second_run(home, a["name"]) for a in ARMS]
    assert {folder: finished.updates.count(folder) for folder in finished.updates} == dict.fromkeys(
        folders, STEPS
    )
    assert {p.name for p in (home / f"seed-{FIRST}").iterdir()} == {"pretrained", "pretrained-longer"}


def test_another_seed_waits_for_the_trials_of_the_first(config_of, tmp_path):
    told = mistake(config_of(tmp_path), seeds=[SECOND])
    assert "trials.json: is not there yet; trials are made with seed 7, which comes first" in told
    assert not list(tmp_path.iterdir())  # else the first seed, when it comes, was begun there already


def test_trials_that_are_added_later_count_for_all_seeds(config_of, tmp_path):
    """A trial that is chosen now is not held to be what the other seeds have been trained with before."""
    poor, good = ["meta.lr*=0.000001"], ["meta.lr*=1"]
    compared = {"longer": False, "judged_tasks": 0}
    compare(config_of(tmp_path, compare={**compared, "arms": [{**UNTRIED[0], "trials": [poor]}]}))
    more = config_of(tmp_path, compare={**compared, "arms": [{**UNTRIED[0], "trials": [poor, good]}]})
    compare(more, resume=True)
    assert json.loads((tmp_path / "study" / "trials.json").read_text())["uniform"]["chosen"] == good
    made = load_config(second_run(tmp_path / "study", "uniform") / "config.yaml")
    assert made.meta.lr == more.meta.lr


def test_every_arm_of_a_seed_starts_from_the_one_pretrained_checkpoint(finished):
    for seed in (FIRST, SECOND):
        wanted = (finished.home / f"seed-{seed}" / "pretrained" / "pretrain.pt").read_bytes()
        below = finished.home / ("trials" if seed == FIRST else f"seed-{SECOND}")
        copies = [p for p in below.glob("**/pretrain.pt") if not p.parent.name.startswith("pretrained")]
        assert len(copies) == (6 if seed == FIRST else 3)
        assert all(p.read_bytes() == wanted for p in copies)


def test_no_ledger_is_left_of_arms_that_have_ended(finished):
    assert not list(finished.home.glob("**/hard_tasks.sqlite*"))


def test_ledgers_are_kept_where_the_comparison_says_so(config_of, tmp_path):
    config = config_of(tmp_path, compare={"arms": UNTRIED, "seeds": 1, "longer": False, "keep_ledgers": True})
    compare(config)
    for arm in ("uniform", "ohem"):
        with Ledger.read(tmp_path / "study" / f"seed-{FIRST}" / arm / "hard_tasks.sqlite") as ledger:
            assert sum(phase.episodes for phase in ledger.phases()) == STEPS * TASKS
