"""Ways of training held against each other: arms × seeds from one pretrained checkpoint a seed.

    python run_meta.py compare --config configs/compare/cifar_fs.yaml

Every arm makes as many updates on as many images and answers the same tasks of the novel classes. Writes
checkpoints/<run>/comparison.json, comparison.md and plots; --resume goes on where it stopped, --seeds leaves
some of the seeds to other processes or machines.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from mtl.compare import plots, table
from mtl.compare.differences import Study
from mtl.compare.differences import compare as held_against
from mtl.compare.hparam_search import (
    all_seeds,
    arm_run,
    choose_trials,
    chosen_before,
    drop_ledger,
    pretrained_run,
    run_at,
)
from mtl.compare.runs import (
    arm_cells,
    arm_config,
    images_passed,
    judge,
    pretrained_cell,
    pretraining_cell,
    require_alike,
    train_arm,
)
from mtl.config import Config, load_config, to_yaml
from mtl.config.comparison import LONGER, PRETRAINED, Arm, slug
from mtl.errors import UserError
from mtl.evaluation.task_answers import Cell, load, save
from mtl.runtime.devices import choose_device, settle_precision
from mtl.runtime.events import require_tensorboard
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
        UserError: arms are not alike in updates and images, or a comparison was begun there already.
        Interrupted: after Ctrl-C; what has ended is kept.
    """
    home = Path(config.checkpoints) / config.run
    require_folder(home)
    if home.exists() and not resume:
        raise UserError(
            f"{home}: {STAGE} was begun there already; --resume goes on with it, run=NAME starts another"
        )
    mine = all_seeds(config) if seeds is None else list(seeds)
    unknown = sorted(set(mine) - set(all_seeds(config)))
    if unknown:
        known = ", ".join(map(str, all_seeds(config)))
        raise UserError(f"--seeds: {unknown[0]} is none of the seeds of this comparison ({known})")
    if config.evaluate.sets:
        raise UserError(
            "evaluate.sets: a comparison scores the novel classes of its own image set; leave it out"
        )
    require_same_tasks(config, home)
    require_alike(config)
    require_tensorboard(config.log)
    run_data = run_data or load_run_data(config)
    config = without_groups(config) if run_data.splits.train.groups is None else config
    for arm in config.compare.arms:
        for trial in arm.trials or ((),):
            one = arm_config(config, arm, config.seed, trial)
            require_served(one, run_data.splits, run_data.episode_images)
    apart = config.seed not in mine and any(arm.trials for arm in config.compare.arms)
    before = chosen_before(config, home) if apart else None
    written = home / "config.yaml"
    config = settle_precision(config, load_config(written).runtime.precision if written.exists() else None)
    home.mkdir(parents=True, exist_ok=True)
    replace_text(written, to_yaml(config))
    chosen = choose_trials(config, home, run_data) if before is None else before
    for number, seed in enumerate(mine):
        tell(f"{STAGE}: seed {seed}, {number + 1} of {len(mine)}", config.log)
        run_seed(config, home, seed, chosen, run_data)
    return report(config, home, chosen)


def require_same_tasks(config: Config, home: Path) -> None:
    """Refuses to go on where answers that are there were given to other tasks.

    Raises:
        UserError: the keys of `evaluate`, or `compare.judged_tasks`, have changed.
    """
    path = home / "config.yaml"
    if path.exists():
        before = load_config(path)
        same = before.compare.judged_tasks == config.compare.judged_tasks
        if before.evaluate != config.evaluate or not same:
            raise UserError(
                f"{path}: was begun with other values of evaluate or compare.judged_tasks, so that its "
                "answers are to other tasks; run=NAME starts another comparison"
            )


def without_groups(config: Config) -> Config:
    """The comparison without the arms that draw within groups: the image set has none.

    Raises:
        UserError: the reference is one of them.
    """

    def draws_within(arm: Arm) -> bool:
        tried = [arm_config(config, arm, config.seed, trial) for trial in arm.trials or ((),)]
        return any(one.hard_tasks.sampler == "within_group" for one in tried)

    left_out = [arm.name for arm in config.compare.arms if draws_within(arm)]
    if not left_out:
        return config
    if config.compare.reference in left_out:
        raise UserError(
            f"compare.reference: {config.compare.reference} draws within groups of classes, and "
            f"{config.data.name} has none"
        )
    tell(f"{STAGE}: {config.data.name} has no groups of classes; left out: {', '.join(left_out)}", config.log)
    kept = tuple(arm for arm in config.compare.arms if arm.name not in left_out)
    return replace(config, compare=replace(config.compare, arms=kept))


def run_seed(config: Config, home: Path, seed: int, chosen: dict[str, int], run_data: RunData) -> None:
    """Pretrains, trains and scores every arm of one seed, as far as that is not done."""
    device = choose_device(config.runtime)
    if config.compare.stage == "pretrain":
        for arm in config.compare.arms:
            one = arm_run(config, home, arm, seed, chosen.get(arm.name))
            tell(f"{STAGE}: seed {seed}, {arm.name}", config.log)
            with RunFolder.of(one).held(STAGE):
                pretrain(one, resume=True, run_data=run_data)
                if not _answers(one).exists():
                    save(_answers(one), pretraining_cell(one, arm.name, run_data, device))
        return
    below = home / f"seed-{seed}"
    pretrained = pretrained_run(config, home, seed, run_data)
    base = run_at(replace(config, seed=seed), below, PRETRAINED)
    judged = judge(base, run_data, device)
    if config.compare.longer:
        reference = config.compare.arm(config.compare.reference)
        images = len(run_data.pretrain_images)
        extra = math.ceil(images_passed(arm_config(config, reference, seed), images) / images)
        more = replace(config.pretrain, epochs=config.pretrain.epochs + extra)
        longer = run_at(replace(config, seed=seed, pretrain=more), below, slug(LONGER))
        for name, one in ((PRETRAINED, base), (LONGER, longer)):
            with RunFolder.of(one).held(STAGE):
                pretrain(one, resume=True, run_data=run_data)
                if not _answers(one).exists():
                    save(_answers(one), pretrained_cell(one, name, run_data, device, judged))
    tables: dict[str, Tensor] = {}
    for arm in config.compare.arms:
        one = arm_run(config, home, arm, seed, chosen.get(arm.name))
        tell(f"{STAGE}: seed {seed}, {arm.name}", config.log)
        with RunFolder.of(one).held(STAGE):
            train_arm(one, pretrained, run_data, tables)  # where it is there already: says whether it fits
            if _answers(one).exists():
                continue
            first, *votes = arm_cells(one, arm.name, run_data, device, judged, tables)
            for number, cell in enumerate(votes):
                save(_answers(one).with_name(f"answers-{number}.pt"), cell)
            save(_answers(one), first)  # last: it says that all are there
            drop_ledger(one)


def report(config: Config, home: Path, chosen: dict[str, int]) -> Study:
    """Compares the cells that are there, and writes tables and plots beside them."""
    cells = cells_of(config, home, chosen)
    study = held_against(cells, config.compare.reference, seed=0)
    replace_text(home / "comparison.json", json.dumps(table.to_dict(study), indent=1))
    replace_text(home / "comparison.md", "\n".join(table.markdown(study, name) for name in study.settings))
    for name in (name for name, arms in study.settings.items() if len(arms) > 1):
        plots.forest(study, name, home / f"differences {name}.png".replace(" ", "-"))
    plots.curves([c for c in cells if c.curve], config.compare.reference, home / "curves.png")
    return study


def cells_of(config: Config, home: Path, chosen: dict[str, int]) -> list[Cell]:
    """The cells that are there: arms in the order of the config, what was only pretrained behind them."""
    paths = [
        _answers(arm_run(config, home, arm, seed, chosen.get(arm.name)))
        for arm in config.compare.arms
        for seed in all_seeds(config)
    ]
    if config.compare.longer:
        paths += [
            home / f"seed-{seed}" / slug(name) / "answers.pt"
            for name in (PRETRAINED, LONGER)
            for seed in all_seeds(config)
        ]
    there = [path for path in paths if path.exists()]
    return [load(one) for path in there for one in (path, *sorted(path.parent.glob("answers-*.pt")))]


def _answers(config: Config) -> Path:
    return RunFolder.of(config).path / "answers.pt"
