"""The commands that take a config: they train, evaluate, compare, or show the image set."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from mtl.cli.subcommand import add, path
from mtl.config import Config, Log, load_config
from mtl.config.loading import find_config
from mtl.errors import RunStopped, UserError
from mtl.runtime.process import is_silent, wait_for_first

if TYPE_CHECKING:
    from pathlib import Path

    from mtl.cli.subcommand import Commands
    from mtl.compare.differences import Study
    from mtl.evaluation.results import Setting
    from mtl.runtime.world import World

_MOST_JOBS = 512
_OVERRIDES = """
Any value of the config can be given on the command line as key.sub=value, e.g.
  meta.way=5 hard_tasks.sampler=uniform run=my-run evaluate.settings='[[5,1],[20,1]]'
If a key takes text, everything after the = is that text, as in "data.root=my photos #2"; in paths ~ is the
home folder. SIGINT (Ctrl-C), SIGTERM and SIGHUP stop training after the current step and write a checkpoint.
A run is written to <checkpoints>/<run>/ and is never overwritten: --resume continues it.
"""


def add_to(commands: "Commands") -> None:
    """Adds them all."""
    stages = (
        ("run", _run, "run all stages", "Pretrains, meta-trains and evaluates; prints the results."),
        ("pretrain", _pretrain, "train the backbone on the base classes", "Writes pretrain.pt."),
        (
            "meta-train",
            _meta_train,
            "meta-train on episodes, resampling the hard ones",
            "Needs pretrain.pt. Writes meta.pt and the ledger hard_tasks.sqlite.",
        ),
        (
            "evaluate",
            _evaluate,
            "measure N-way K-shot accuracy on novel classes",
            "Evaluates the meta-trained learner, or the pretrained backbone if there is none yet, beside "
            "baselines. Writes results.json: a setting that is evaluated again replaces its old entry, with "
            "the same numbers. --resume is accepted, as in other stages, but changes nothing.",
        ),
        (
            "compare",
            _compare,
            "compare ways of training over several seeds",
            "Arms × seeds (section compare), with equal updates and images. Writes tables and plots.",
        ),
    )
    for name, command, summary, more in stages:
        sub = add(commands, name, command, summary, more)
        _takes_config(sub)
        sub.set_defaults(together=name != "compare")
        resume = "continue where the run stopped; starts a new one if there is nothing to continue"
        sub.add_argument("--resume", action="store_true", help=resume)
        quiet = "no progress, only results and errors; the same as log.quiet=true"
        sub.add_argument("-q", "--quiet", action="store_true", help=quiet)
    trials = "only score the one-shot trials of Lake et al. (2015): all_runs.zip, or its folder"
    commands.choices["evaluate"].add_argument("--trials", type=path, metavar="ZIP", help=trials)
    seeds = "only these seeds, e.g. 0,2; other processes can run the others"
    commands.choices["compare"].add_argument("--seeds", type=_numbers, metavar="N,N", help=seeds)
    arms = 'only these arms, e.g. "uniform,boosted"; compare.reference has to be among them'
    commands.choices["compare"].add_argument("--arms", metavar="NAME,NAME", help=arms)
    jobs = "processes that share the arms and seeds and the cores of this machine (default 1)"
    commands.choices["compare"].add_argument("--jobs", type=_count, metavar="N", help=jobs)
    slurm = 'run as jobs of Slurm with these options, e.g. "partition=gpu,time=120,gpus_per_node=1"'
    commands.choices["compare"].add_argument("--slurm", metavar="KEY=VALUE,...", help=slurm)
    dry = "with --slurm: only print what would be submitted"
    commands.choices["compare"].add_argument("--dry-run", action="store_true", help=dry)
    more = "Splits, classes, counts, sizes, and a sheet of samples."
    data = add(commands, "data", _data, "show what an image set holds", more)
    _takes_config(data)
    sheet = "where to write the sheet of samples (default: <data.name>.png in this folder)"
    data.add_argument("--sheet", type=path, metavar="PNG", help=sheet)


def _takes_config(sub: argparse.ArgumentParser) -> None:
    sub.epilog = _OVERRIDES
    file = "YAML file, or the name of a shipped config"
    sub.add_argument("--config", type=path, metavar="FILE", required=True, help=file)
    sub.add_argument("overrides", nargs="*", metavar="key.sub=value", help="changes values of the config")
    sub.set_defaults(quiet=False)


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _count(text: str) -> int:
    with suppress(ValueError):
        if 1 <= int(text) <= _MOST_JOBS:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed; it must be a number from 1 to {_MOST_JOBS}")


def _config(args: argparse.Namespace) -> Config:
    quiet = ["log.quiet=true"] if args.quiet else []
    return load_config(find_config(args.config), [*args.overrides, *quiet])


@contextmanager
def _together(args: argparse.Namespace) -> "Iterator[tuple[Config, bool, World]]":
    """The config, whether to go on where a run stopped, and the processes that torchrun started.

    Processes other than the first show nothing, and what they write goes into a folder that nobody reads.
    """
    from mtl.runtime.devices import device_of
    from mtl.runtime.torchrun import joined_world
    from mtl.runtime.world import scratch_folder

    try:
        config = _config(args)
        device = device_of(config.runtime).type
    except UserError:
        wait_for_first()
        raise
    with joined_world(device) as world:
        resume = args.resume or world.begun
        if world.first:
            yield config, resume, world
            return
        with scratch_folder() as folder:
            yield replace(config, checkpoints=folder, log=Log(quiet=True)), resume, world


def _run(args: argparse.Namespace) -> None:
    from mtl.evaluation.evaluate import run

    with _together(args) as (config, resume, world):
        _show_results(config, run(config, resume, world))


def _pretrain(args: argparse.Namespace) -> None:
    from mtl.training.pretrain import pretrain

    with _together(args) as (config, resume, world):
        pretrain(config, resume, world=world)


def _meta_train(args: argparse.Namespace) -> None:
    from mtl.training.meta_train import meta_train

    with _together(args) as (config, resume, world):
        meta_train(config, resume, world=world)


def _evaluate(args: argparse.Namespace) -> None:
    from mtl.evaluation.evaluate import evaluate

    with _together(args) as (config, _, world):
        if args.trials is None:
            _show_results(config, evaluate(config, world=world))
        elif world.first:
            _trials(config, args.trials)


def _trials(config: Config, place: "Path") -> None:
    from mtl.evaluation.results import trials_text
    from mtl.own_images.score_trials import score_trials

    print(trials_text(asdict(score_trials(config, place))))


def _show_results(config: Config, settings: "Sequence[Setting]") -> None:
    """Prints the results, after the figures for TensorBoard if the config wants them."""
    if is_silent():
        return
    from mtl.evaluation.results import show
    from mtl.runtime.progress import console

    if config.log.tensorboard:  # loads what draws
        from mtl.report.write_report import figures_to_events

        figures_to_events(config)
    show(settings, console())


def _compare(args: argparse.Namespace) -> None:
    from mtl.compare.study import failures, only_arms
    from mtl.compare.table import table
    from mtl.runtime.progress import console

    config = _config(args) if args.arms is None else only_arms(_config(args), args.arms)
    study = _study(config, args)
    if study is None:  # others compute it
        return
    output = console(140)
    for name in study.settings:
        output.print(table(study, name))
    if study.missing:
        raise RunStopped(failures(study.missing))


def _study(config: Config, args: argparse.Namespace) -> "Study | None":
    """What was compared; None where Slurm will do it, or what it would do was only printed."""
    if args.slurm is None:
        from mtl.compare.study import compare

        if args.dry_run:
            raise UserError("--dry-run: is for --slurm, which is missing")
        return compare(config, args.resume, args.seeds, processes=args.jobs or 1)
    from mtl.compare.slurm import submit

    if args.jobs is not None:
        raise UserError("--jobs: does not go with --slurm, where every arm and seed is a job of its own")
    return submit(config, args.resume, args.seeds, args.slurm, args.dry_run)


def _data(args: argparse.Namespace) -> None:
    from mtl.data.show_data import show_data

    show_data(_config(args), args.sheet)
