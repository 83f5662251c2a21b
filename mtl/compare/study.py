"""Ways of training compared with each other: arms × seeds from one pretrained checkpoint a seed.

    python run_meta.py compare --config configs/compare/cifar_fs.yaml

Every arm makes as many updates on as many images and answers the same tasks of the novel classes. Writes
checkpoints/<run>/comparison.json, comparison.md and plots; --resume goes on where it stopped, --seeds leaves
some of the seeds to other processes or machines.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from mtl.compare import plots, table
from mtl.compare.differences import Study
from mtl.compare.differences import compare as compare_cells
from mtl.compare.runs import (
    arm_cells,
    arm_config,
    images_passed,
    judge,
    pretrained_cell,
    pretraining_cell,
    require_same_budget,
    train_arm,
    validation_accuracy,
)
from mtl.config import Config, load_config, to_yaml
from mtl.config.comparison import LONGER, PRETRAINED, Arm, slug
from mtl.errors import UserError
from mtl.evaluation.task_answers import Cell, load, save
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device, settle_precision
from mtl.runtime.events import require_tensorboard
from mtl.runtime.figure_files import save_png
from mtl.runtime.outputs import replace_text, require_folder
from mtl.runtime.progress import tell
from mtl.runtime.run_folder import RunFolder
from mtl.training.pretrain import pretrain
from mtl.training.run_data import RunData, load_run_data, require_served

STAGE = "compare"


def compare(
    config: Config, resume: bool = False, seeds: Sequence[int] | None = None, run_data: RunData | None = None
) -> Study:
    """Trains what is missing, scores it, and compares all that is there.

    Args:
        config: of the comparison; its sections are those of every arm, but for what the arm changes.
        resume: go on with a comparison that was begun.
        seeds: only these; None for all of `compare.seeds`.
        run_data: the image set, where the caller has it already.

    Raises:
        UserError: arms differ in updates or images, or a comparison was begun there already.
        Interrupted: after Ctrl-C; what has ended is kept.
    """
    home = RunFolder.of(config)
    mine = all_seeds(config) if seeds is None else list(seeds)
    _check(config, home, resume, mine)
    run_data = run_data or load_run_data(config)
    config = _without_groups(config) if run_data.splits.train.groups is None else config
    for arm in config.compare.arms:
        for one in _variants(config, arm):
            require_served(one, run_data.splits, run_data.episode_images)
    # Seeds that run apart from the first need its choice of trials, before anything is written.
    apart = config.seed not in mine and bool(_tried(config))
    chosen = _read_choice(config) if apart else None
    before = load_config(home.config).runtime.precision if home.config.exists() else None
    config = settle_precision(config, before)
    home.path.mkdir(parents=True, exist_ok=True)
    replace_text(home.config, to_yaml(config))
    chosen = choose_trials(config, run_data) if chosen is None else chosen
    for number, seed in enumerate(mine):
        tell(f"{STAGE}: seed {seed}, {number + 1} of {len(mine)}", config.log)
        if config.compare.stage == "pretrain":
            _run_pretrainings(config, seed, chosen, run_data)
        else:
            _run_seed(config, seed, chosen, run_data)
    return _report(config, chosen)


def only_arms(config: Config, text: str) -> Config:
    """The comparison of some of its arms, whose names `text` has with commas between them.

    Raises:
        UserError: a name is that of no arm, or the reference is not among them.
    """
    known = [arm.name for arm in config.compare.arms]
    names = _names(text, known)
    for name in names:
        if name not in known:
            raise UserError(f"--arms: {name!r} is none of the arms of this comparison ({', '.join(known)})")
    if config.compare.reference not in names:
        raise UserError(
            f"--arms: {config.compare.reference} is missing, which the others are compared with; add it, or "
            f"set compare.reference to one of {', '.join(names)}"
        )
    arms = tuple(arm for arm in config.compare.arms if arm.name in names)
    return replace(config, compare=replace(config.compare, arms=arms))


def _names(text: str, known: Sequence[str]) -> list[str]:
    """The names in a list with commas; a known one may have commas itself."""
    parts, names = [part.strip() for part in text.split(",")], list[str]()
    while parts:
        joined = (", ".join(parts[:end]) for end in range(len(parts), 0, -1))
        names.append(next((name for name in joined if name in known), parts[0]))
        parts = parts[names[-1].count(",") + 1 :]
    return names


def all_seeds(config: Config) -> list[int]:
    return [config.seed + i for i in range(config.compare.seeds)]


def _check(config: Config, home: RunFolder, resume: bool, seeds: Sequence[int]) -> None:
    """Raises UserError for what can be known to be wrong before the image set is read."""
    require_folder(home.path)
    if home.path.exists() and not resume:
        raise UserError(
            f"{home.path}: {STAGE} was begun there already; --resume goes on with it, run=NAME starts another"
        )
    known = all_seeds(config)
    if unknown := sorted(set(seeds) - set(known)):
        allowed = ", ".join(map(str, known))
        raise UserError(f"--seeds: {unknown[0]} is none of the seeds of this comparison ({allowed})")
    if config.evaluate.sets:
        raise UserError(
            "evaluate.sets: a comparison scores the novel classes of its own image set; leave it out"
        )
    if home.config.exists():
        before = load_config(home.config)
        same = before.compare.judged_tasks == config.compare.judged_tasks
        if before.evaluate != config.evaluate or not same:
            raise UserError(
                f"{home.config}: was begun with other values of evaluate or compare.judged_tasks, so its "
                "answers are to other tasks; run=NAME starts another comparison"
            )
    require_same_budget(config)
    require_tensorboard(config.log)


def _variants(config: Config, arm: Arm) -> list[Config]:
    """The configs that an arm may train with: one for each of its trials."""
    trials = arm.trials if arm in _tried(config) else ()
    return [arm_config(config, arm, config.seed, trial) for trial in trials or ((),)]


def _without_groups(config: Config) -> Config:
    """The comparison without the arms that draw within groups, which the image set lacks.

    Raises:
        UserError: the reference is one of them.
    """
    left_out = [
        arm.name
        for arm in config.compare.arms
        if any(one.hard_tasks.sampler == "within_group" for one in _variants(config, arm))
    ]
    if not left_out:
        return config
    if config.compare.reference in left_out:
        raise UserError(
            f"compare.reference: {config.compare.reference} draws within groups of classes, and "
            f"{config.data.name} has none"
        )
    tell(f"{STAGE}: {config.data.name} has no groups of classes; left out: {', '.join(left_out)}", config.log)
    arms = tuple(arm for arm in config.compare.arms if arm.name not in left_out)
    return replace(config, compare=replace(config.compare, arms=arms))


def choose_trials(config: Config, run_data: RunData) -> dict[str, int]:
    """Each arm's trial of the best mean accuracy on validation tasks over the trials' seeds.

    None of these seeds is compared: a trial that chance favoured would take its luck into the comparison.
    """
    chosen: dict[str, int] = {}
    written: dict[str, dict[str, object]] = {}
    arms = _tried(config)
    scores = {arm.name: [0.0] * len(arm.trials) for arm in arms}
    for seed in trial_seeds(config):
        tables: dict[str, Tensor] = {}
        for arm in arms:
            for number, trial in enumerate(arm.trials):
                of = f"{number + 1} of {len(arm.trials)}"
                tell(f"{STAGE}: seed {seed}, {arm.name}, trial {of}: {' '.join(trial)}", config.log)
                score = _trial_score(config, _trial_run(config, arm, seed, number), run_data, tables)
                scores[arm.name][number] += score / config.compare.trial_seeds
    for arm in arms:
        of_arm = scores[arm.name]
        best = chosen[arm.name] = max(range(len(of_arm)), key=of_arm.__getitem__)
        written[arm.name] = {"trials": arm.trials, "scores": of_arm, "chosen": arm.trials[best]}
    replace_text(RunFolder.of(config).path / "trials.json", json.dumps(written, indent=1))
    return chosen


def _tried(config: Config) -> list[Arm]:
    """The arms that have trials, where the comparison makes any."""
    return [arm for arm in config.compare.arms if arm.trials and config.compare.trial_seeds]


def _trial_score(config: Config, one: Config, run_data: RunData, tables: dict[str, Tensor]) -> float:
    """Trains one trial with one seed, where it is missing; its accuracy on the validation tasks."""
    if config.compare.stage == "pretrain":
        pretrain(one, resume=True, run_data=run_data)
        return float(checkpoints.read(RunFolder.of(one).pretrain)["mean"])
    base = _base_run(config, one.seed, _trials_folder(config))
    pretrain(base, resume=True, run_data=run_data)
    train_arm(one, RunFolder.of(base).pretrain, run_data, tables)
    _drop_ledger(one)
    return validation_accuracy(one, config.seed, run_data, choose_device(config.runtime), tables)


def _read_choice(config: Config) -> dict[str, int]:
    """What `choose_trials` chose in the process that has the first seed.

    Raises:
        UserError: it has not chosen yet, or among other trials.
    """
    path = RunFolder.of(config).path / "trials.json"
    if not path.exists():
        raise UserError(
            f"{path}: is not there yet; the process with seed {config.seed} makes the trials, and comes first"
        )
    written = json.loads(path.read_text(encoding="utf-8"))
    trials = {arm.name: [list(trial) for trial in arm.trials] for arm in _tried(config)}
    if {name: one["trials"] for name, one in written.items()} != trials:
        raise UserError(f"{path}: holds other trials than the config; seed {config.seed} makes them anew")
    return {name: trials[name].index(one["chosen"]) for name, one in written.items()}


def trial_seeds(config: Config) -> list[int]:
    """Those after the last seed that is compared."""
    first = config.seed + config.compare.seeds
    return [first + i for i in range(config.compare.trial_seeds)]


def _trials_folder(config: Config) -> Path:
    return RunFolder.of(config).path / "trials"


def _trial_run(config: Config, arm: Arm, seed: int, number: int) -> Config:
    one = arm_config(config, arm, seed, arm.trials[number])
    return _run_at(one, _trials_folder(config) / f"seed-{seed}" / slug(arm.name), str(number))


def arm_run(config: Config, arm: Arm, seed: int, chosen: Mapping[str, int]) -> Config:
    """The run of an arm, in a folder for each trial that may be chosen."""
    below = RunFolder.of(config).path / f"seed-{seed}"
    if arm.name not in chosen:
        return _run_at(arm_config(config, arm, seed), below, slug(arm.name))
    number = chosen[arm.name]
    return _run_at(arm_config(config, arm, seed, arm.trials[number]), below / slug(arm.name), str(number))


def _run_at(config: Config, folder: Path, run: str) -> Config:
    return replace(config, checkpoints=str(folder), run=run)


def _base_run(config: Config, seed: int, home: Path | None = None) -> Config:
    """The pretraining that all arms of a seed start from; below `home` where it is not for the comparison."""
    below = (home or RunFolder.of(config).path) / f"seed-{seed}"
    return _run_at(replace(config, seed=seed), below, PRETRAINED)


def _pretrained(config: Config, seed: int, run_data: RunData) -> Path:
    """The pretrained checkpoint of a seed, made where it is missing."""
    one = _base_run(config, seed)
    pretrain(one, resume=True, run_data=run_data)
    return RunFolder.of(one).pretrain


def _longer_run(config: Config, seed: int, run_data: RunData) -> Config:
    """A pretraining that is longer by as many images as the reference meta-trains on."""
    reference = config.compare.arm(config.compare.reference)
    images = len(run_data.pretrain_images)
    extra = math.ceil(images_passed(arm_config(config, reference, seed), images) / images)
    more = replace(config.pretrain, epochs=config.pretrain.epochs + extra)
    return replace(_base_run(config, seed), pretrain=more, run=slug(LONGER))


def _drop_ledger(config: Config) -> None:
    """Removes the ledger of an arm that has ended, unless the comparison keeps them."""
    if not config.compare.keep_ledgers:
        RunFolder.of(config).ledger.unlink(missing_ok=True)


def _run_pretrainings(config: Config, seed: int, chosen: Mapping[str, int], run_data: RunData) -> None:
    """Pretrains and scores every arm of one seed, as far as that is not done."""
    device = choose_device(config.runtime)
    for arm in config.compare.arms:
        tell(f"{STAGE}: seed {seed}, {arm.name}", config.log)
        one = arm_run(config, arm, seed, chosen)
        _pretrain_and_score(one, run_data, partial(pretraining_cell, one, arm.name, run_data, device))


def _run_seed(config: Config, seed: int, chosen: Mapping[str, int], run_data: RunData) -> None:
    """Pretrains, trains and scores every arm of one seed, as far as that is not done."""
    device = choose_device(config.runtime)
    pretrained, base = _pretrained(config, seed, run_data), _base_run(config, seed)
    judged = judge(base, run_data, device)
    if config.compare.longer:
        for name, one in ((PRETRAINED, base), (LONGER, _longer_run(config, seed, run_data))):
            _pretrain_and_score(one, run_data, partial(pretrained_cell, one, name, run_data, device, judged))
    tables: dict[str, Tensor] = {}
    for arm in config.compare.arms:
        one = arm_run(config, arm, seed, chosen)
        tell(f"{STAGE}: seed {seed}, {arm.name}", config.log)
        with RunFolder.of(one).held(STAGE):
            train_arm(one, pretrained, run_data, tables)  # where it is there already: checks that it fits
            if _answers(one).exists():
                continue
            first, *votes = arm_cells(one, arm.name, run_data, device, judged, tables)
            for number, cell in enumerate(votes):
                save(_answers(one).with_name(f"answers-{number}.pt"), cell)
            save(_answers(one), first)  # last: it says that all are there
            _drop_ledger(one)


def _pretrain_and_score(config: Config, run_data: RunData, score: Callable[[], Cell]) -> None:
    with RunFolder.of(config).held(STAGE):
        pretrain(config, resume=True, run_data=run_data)
        if not _answers(config).exists():
            save(_answers(config), score())


def _report(config: Config, chosen: Mapping[str, int]) -> Study:
    """Compares the cells that are there, and writes tables and plots beside them."""
    home = RunFolder.of(config).path
    cells = _cells(config, chosen)
    study = compare_cells(cells, config.compare.reference, 0, beside=(PRETRAINED, LONGER))
    replace_text(home / "comparison.json", json.dumps(table.to_dict(study), indent=1))
    replace_text(home / "comparison.md", "\n".join(table.markdown(study, name) for name in study.settings))
    for name in (name for name, arms in study.settings.items() if len(arms) > 1):
        save_png(plots.forest(study, name), home / f"differences {name}.png".replace(" ", "-"))
    curves = plots.curves([c for c in cells if c.curve], config.compare.reference)
    save_png(curves, home / "curves.png")
    return study


def _cells(config: Config, chosen: Mapping[str, int]) -> list[Cell]:
    """The cells that are there: arms in the order of the config, what was only pretrained behind them."""
    seeds = all_seeds(config)
    runs = [arm_run(config, arm, seed, chosen) for arm in config.compare.arms for seed in seeds]
    if config.compare.longer:
        runs += [_base_run(config, seed) for seed in seeds]
        runs += [replace(_base_run(config, seed), run=slug(LONGER)) for seed in seeds]
    there = [path for path in map(_answers, runs) if path.exists()]
    return [load(one) for path in there for one in (path, *sorted(path.parent.glob("answers-*.pt")))]


def _answers(config: Config) -> Path:
    return RunFolder.of(config).path / "answers.pt"
