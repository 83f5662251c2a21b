"""The runs that a comparison is made of, and the trial of each arm that did best on validation tasks."""

import json
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from mtl.compare.runs import arm_config, train_arm
from mtl.config import Config
from mtl.config.comparison import PRETRAINED, Arm, slug
from mtl.errors import UserError
from mtl.runtime import checkpoints
from mtl.runtime.outputs import replace_text
from mtl.runtime.progress import tell
from mtl.runtime.run_folder import RunFolder
from mtl.training.pretrain import pretrain
from mtl.training.run_data import RunData


def all_seeds(config: Config) -> list[int]:
    return [config.seed + i for i in range(config.compare.seeds)]


def choose_trials(config: Config, home: Path, run_data: RunData) -> dict[str, int]:
    """Which trial of each arm has the best validation accuracy with the first seed; the first of equals."""
    chosen: dict[str, int] = {}
    told: dict[str, dict[str, object]] = {}
    tables: dict[str, Tensor] = {}
    for arm in config.compare.arms:
        if not arm.trials:
            continue
        scores = []
        for number, trial in enumerate(arm.trials):
            told_of = f"compare: {arm.name}, trial {number + 1} of {len(arm.trials)}"
            tell(f"{told_of}: {' '.join(trial)}", config.log)
            one = arm_run(config, home, arm, config.seed, number)
            if config.compare.stage == "pretrain":
                pretrain(one, resume=True, run_data=run_data)
                scores.append(float(checkpoints.read(RunFolder.of(one).pretrain)["mean"]))
                continue
            pretrained = pretrained_run(config, home, config.seed, run_data)
            scores.append(train_arm(one, pretrained, run_data, tables))
            drop_ledger(one)
        best = chosen[arm.name] = max(range(len(scores)), key=scores.__getitem__)
        told[arm.name] = {"trials": arm.trials, "scores": scores, "chosen": arm.trials[best]}
    replace_text(home / "trials.json", json.dumps(told, indent=1))
    return chosen


def chosen_before(config: Config, home: Path) -> dict[str, int]:
    """What `choose_trials` found in the process that has the first seed.

    Raises:
        UserError: it has not found it yet, or for other trials.
    """
    path = home / "trials.json"
    if not path.exists():
        raise UserError(
            f"{path}: is not there yet; trials are made with seed {config.seed}, which comes first"
        )
    told = json.loads(path.read_text(encoding="utf-8"))
    trials = {arm.name: [list(trial) for trial in arm.trials] for arm in config.compare.arms}
    if {name: one["trials"] for name, one in told.items()} != trials:
        raise UserError(f"{path}: holds other trials than the config; seed {config.seed} makes them anew")
    return {name: trials[name].index(one["chosen"]) for name, one in told.items()}


def arm_run(config: Config, home: Path, arm: Arm, seed: int, trial: int | None) -> Config:
    """The run of an arm: with the first seed that of the trial itself, which need not be trained twice."""
    below = home / f"seed-{seed}"
    if trial is None:
        return run_at(arm_config(config, arm, seed), below, slug(arm.name))
    one = arm_config(config, arm, seed, arm.trials[trial])
    folder = home / "trials" if seed == config.seed else below
    return run_at(one, folder / slug(arm.name), str(trial))


def pretrained_run(config: Config, home: Path, seed: int, run_data: RunData) -> Path:
    """The pretrained checkpoint of a seed, made where it is missing."""
    one = run_at(replace(config, seed=seed), home / f"seed-{seed}", PRETRAINED)
    pretrain(one, resume=True, run_data=run_data)
    return RunFolder.of(one).pretrain


def drop_ledger(config: Config) -> None:
    """Removes the ledger of an arm that has ended, unless the comparison keeps them."""
    if not config.compare.keep_ledgers:
        RunFolder.of(config).ledger.unlink(missing_ok=True)


def run_at(config: Config, home: Path, run: str) -> Config:
    """The config of a run below `home`."""
    return replace(config, checkpoints=str(home), run=run)
