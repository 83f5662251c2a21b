"""Ways of training compared with each other: arms × seeds from one pretrained checkpoint a seed.

    python run_meta.py compare --config configs/compare/cifar_fs.yaml

Every arm makes as many updates on as many images and answers the same tasks of the novel classes. Writes
checkpoints/<run>/comparison.json, comparison.md and plots. A comparison is a list of jobs (`jobs.py`): every
one that is not done is done, beside other processes that do the same (`work.py`), and then it reports.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mtl.compare import plots, table
from mtl.compare.differences import Study
from mtl.compare.differences import compare as compare_cells
from mtl.compare.fan_out import run_workers
from mtl.compare.jobs import FAILED, Job, Jobs, all_seeds, answers_file
from mtl.compare.runs import arm_config, require_same_budget
from mtl.compare.work import STAGE, JobRunner, work
from mtl.config import Config, load_config, to_dict, to_yaml
from mtl.config.comparison import LONGER, PRETRAINED, Arm
from mtl.errors import RunStopped, UserError, counted
from mtl.evaluation.task_answers import Cell, load
from mtl.runtime import checkpoints
from mtl.runtime.devices import settle_precision
from mtl.runtime.events import require_tensorboard
from mtl.runtime.figure_files import save_png
from mtl.runtime.outputs import replace_text, require_folder
from mtl.runtime.progress import tell
from mtl.runtime.run_folder import RunFolder
from mtl.training.run_data import RunData, load_run_data, require_served

_SETUP_WAIT = 60.0  # seconds to wait for another process that begins at the same time
_DECIDING = checkpoints.DECIDING["meta-train"]


def compare(
    config: Config,
    resume: bool = False,
    seeds: Sequence[int] | None = None,
    run_data: RunData | None = None,
    processes: int = 1,
) -> Study:
    """Trains what is missing, scores it, and compares all that is there.

    Args:
        config: of the comparison; its sections are those of every arm, but for what the arm changes.
        resume: go on with a comparison that was begun, also while other processes work on it.
        seeds: only these; None for all of `compare.seeds`.
        run_data: the image set, where the caller has it already.
        processes: on this machine; with more than one each has its share of the cores.

    Returns:
        The study of what is there; `missing` says what is not, because it failed.

    Raises:
        UserError: arms differ in updates or images, or another comparison was begun there.
        RunStopped: what failed leaves nothing to compare with.
        Interrupted: after Ctrl-C; what has ended is kept.
    """
    jobs, run_data = begin(config, resume, seeds, run_data)
    if processes > 1:
        run_workers(jobs, processes)
    else:
        work(jobs, JobRunner(jobs, run_data), jobs.config.log)
    return report(jobs)


def check(
    config: Config, resume: bool, seeds: Sequence[int] | None, run_data: RunData | None = None
) -> tuple[Config, RunData, list[int]]:
    """The config of a comparison as its image set allows, that set, and the seeds to be compared.

    Raises:
        UserError: something is wrong; nothing has been written.
    """
    mine = all_seeds(config) if seeds is None else list(seeds)
    _check(config, RunFolder.of(config), resume, mine)
    run_data = run_data or load_run_data(config)
    config = _without_groups(config) if run_data.splits.train.groups is None else config
    for arm in config.compare.arms:
        for one in _variants(config, arm):
            require_served(one, run_data.splits, run_data.episode_images)
    return config, run_data, mine


def begin(
    config: Config,
    resume: bool,
    seeds: Sequence[int] | None = None,
    run_data: RunData | None = None,
    computes: bool = True,
    anew: bool = True,
) -> tuple[Jobs, RunData]:
    """Checks a comparison, and notes its config in its folder; its jobs and the image set.

    Args:
        config, resume, seeds, run_data: as of `compare`.
        computes: settle the precision, for this machine trains.
        anew: a person began it, so that what is there is checked, and what failed is tried again.

    Raises:
        UserError: before anything is written.
    """
    home = RunFolder.of(config)
    config, run_data, mine = check(config, resume, seeds, run_data)
    with home.held(STAGE, _SETUP_WAIT):
        _require_same(config, home, resume)  # another process may have begun one since
        before = load_config(home.config).runtime.precision if home.config.exists() else None
        config = settle_precision(config, before) if computes else config
        jobs = Jobs(config, len(run_data.pretrain_images), mine)
        for job in filter(jobs.done, jobs.all) if anew else ():
            jobs.require_fit(job)
        replace_text(home.config, to_yaml(config))
        for failed in home.path.glob(f"**/{FAILED}") if anew else ():
            failed.unlink(missing_ok=True)
    return jobs, run_data


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


def _check(config: Config, home: RunFolder, resume: bool, seeds: Sequence[int]) -> None:
    """Raises UserError for what can be known to be wrong before the image set is read."""
    require_folder(home.path)
    _require_same(config, home, resume)
    known = all_seeds(config)
    if unknown := sorted(set(seeds) - set(known)):
        allowed = ", ".join(map(str, known))
        raise UserError(f"--seeds: {unknown[0]} is none of the seeds of this comparison ({allowed})")
    if config.evaluate.sets:
        raise UserError(
            "evaluate.sets: a comparison scores the novel classes of its own image set; leave it out"
        )
    require_same_budget(config)
    require_tensorboard(config.log)


def _require_same(config: Config, home: RunFolder, resume: bool) -> None:
    """UserError if another comparison was begun in the folder; or the same one, and this is not to go on."""
    if home.path.exists() and not resume and any(home.path.glob("[!.]*")):
        raise UserError(
            f"{home.path}: {STAGE} was begun there already; --resume goes on with it, run=NAME starts another"
        )
    if not home.config.exists():
        return
    before = load_config(home.config)
    same = before.compare.judged_tasks == config.compare.judged_tasks
    if before.evaluate != config.evaluate or not same:
        raise UserError(
            f"{home.config}: was begun with other values of evaluate or compare.judged_tasks, so its "
            "answers are to other tasks; run=NAME starts another comparison"
        )
    for name, old, new in checkpoints.differences(
        home.config, {"config": to_dict(before)}, config, _DECIDING
    ):
        raise UserError(
            f"{home.config}: was begun with {name} = {old}, but the config now says {new}; "
            f"give {name}={old}, or run=NAME starts another comparison"
        )


def _variants(config: Config, arm: Arm) -> list[Config]:
    """The configs that an arm may train with: one for each of its trials."""
    trials = arm.trials if config.compare.trial_seeds else ()
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


def report(jobs: Jobs) -> Study:
    """Compares the answers that are there, and writes tables and plots beside them.

    Raises:
        UserError: another process has trained something with another config.
        RunStopped: all of the reference failed.
    """
    config, home = jobs.config, jobs.home.path
    for job in filter(jobs.done, jobs.all):
        jobs.require_fit(job)
    missing = {str(job): _why(jobs, job) for job in jobs.all if not jobs.done(job)}
    cells = _cells(jobs)
    if missing and not any(cell.arm == config.compare.reference for cell in cells):
        raise RunStopped(failures(missing))
    study = compare_cells(cells, config.compare.reference, 0, beside=(PRETRAINED, LONGER))
    study = replace(study, missing=missing)
    _write_choice(jobs)
    replace_text(home / "comparison.json", json.dumps(table.to_dict(study), indent=1))
    replace_text(home / "comparison.md", "\n".join(table.markdown(study, name) for name in study.settings))
    for name in (name for name, arms in study.settings.items() if len(arms) > 1):
        save_png(plots.forest(study, name), home / f"differences {name}.png".replace(" ", "-"))
    curves = plots.curves([c for c in cells if c.curve], config.compare.reference)
    save_png(curves, home / "curves.png")
    return study


def _why(jobs: Jobs, job: Job) -> str:
    reason, own = jobs.failure(job) or "is not done", jobs.own_failure(job)
    return f"{reason}; its log: {log}" if own and (log := jobs.log(job)).exists() else reason


def failures(missing: Mapping[str, str]) -> str:
    """What is missing of a comparison and why, a line each."""
    lines = [f"  {job}: {reason}" for job, reason in missing.items()]
    return "\n".join([f"{STAGE}: {counted(len(missing), 'job')} failed; --resume tries again", *lines])


def _write_choice(jobs: Jobs) -> None:
    """Notes which trials were chosen, and why."""
    written = {}
    for arm in jobs.config.compare.arms:
        trials = jobs.trials(arm.name)
        if trials and all(map(jobs.done, trials)):
            means = jobs.trial_means(arm.name)
            chosen = arm.trials[max(range(len(means)), key=means.__getitem__)]
            written[arm.name] = {"trials": arm.trials, "scores": means, "chosen": chosen}
    replace_text(jobs.home.path / "trials.json", json.dumps(written, indent=1))


def _cells(jobs: Jobs) -> list[Cell]:
    """The cells that are there: arms in the order of the config, what was only pretrained behind them.

    Those of seeds that other processes compare are among them.
    """
    config = jobs.config
    every, arms = Jobs(config, jobs.pretrain_images), [arm.name for arm in config.compare.arms]
    order = {name: place for place, name in enumerate([*arms, PRETRAINED, LONGER])}
    answered = sorted((j for j in every.all if j.kind in {"arm", "beside"}), key=lambda j: order[j.arm])
    there = [answers_file(every.run(job)) for job in answered if every.done(job)]
    return [load(one) for path in there for one in (path, *sorted(path.parent.glob("answers-*.pt")))]
