"""The commands of a run: they take a config and train, score, compare or show its image set."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mtl.cli.subcommand import add, path
from mtl.config import Config, load_config
from mtl.config.shipped import find_config

if TYPE_CHECKING:
    from mtl.cli.subcommand import Commands
    from mtl.evaluation.results import Setting

_OVERRIDES = """
Any value of the config can be given on the command line as key.sub=value, e.g.
  meta.way=5 hard_tasks.sampler=uniform run=my-run evaluate.settings='[[5,1],[20,1]]'
What follows the = of a key that takes text is that text, as in "data.root=my photos #2"; in paths ~ is the
home folder. SIGINT, SIGTERM and SIGHUP stop a training after its step, with a checkpoint written.
A run lives in <checkpoints>/<run>/ and is never overwritten: --resume goes on with it.
"""


def add_to(commands: "Commands") -> None:
    """Adds them all."""
    _takes_config(
        add(commands, "run", _run, "all stages", "Pretrain, meta-train, evaluate; prints the results."),
        resumable=True,
    )
    _takes_config(
        add(commands, "pretrain", _pretrain, "train the backbone on the base classes", "Writes pretrain.pt."),
        resumable=True,
    )
    _takes_config(
        add(
            commands,
            "meta-train",
            _meta_train,
            "meta-train on episodes, resampling the hard ones",
            "Needs pretrain.pt. Writes\nmeta.pt and the ledger hard_tasks.sqlite.",
        ),
        resumable=True,
    )
    _takes_config(
        add(
            commands,
            "evaluate",
            _evaluate,
            "N-way K-shot accuracy on novel classes",
            "Scores the meta-trained learner, or the\n"
            "pretrained backbone where there is none yet, beside baselines. Writes results.json: a setting\n"
            "that is scored again replaces itself, with the same numbers. --resume, as on other stages, is\n"
            "taken and changes nothing: scores are computed in one go.",
        ),
        resumable=True,
    )
    comparison = _takes_config(
        add(
            commands,
            "compare",
            _compare,
            "hold ways of training against each other",
            "Arms × seeds (section compare), with equal\nupdates and images. Writes tables and plots.",
        ),
        resumable=True,
    )
    comparison.add_argument(
        "--seeds",
        type=lambda text: [int(one) for one in text.split(",")],
        metavar="N,N",
        help="only these, as in 0,2; other processes may do the others",
    )
    data = _takes_config(
        add(
            commands,
            "data",
            _data,
            "what the image set holds",
            "Splits, classes, counts, sizes, and a sheet of samples.",
        ),
        resumable=False,
    )
    data.add_argument(
        "--sheet",
        type=path,
        metavar="PNG",
        help="where to draw the sample sheet (default: <data.name>.png in this folder)",
    )


def _takes_config(sub: argparse.ArgumentParser, resumable: bool) -> argparse.ArgumentParser:
    sub.epilog = _OVERRIDES
    sub.add_argument(
        "--config", type=path, metavar="FILE", required=True, help="YAML file, or a shipped one by name"
    )
    sub.add_argument("overrides", nargs="*", metavar="key.sub=value", help="laid over the config")
    sub.set_defaults(quiet=False)
    if resumable:
        text = "go on where the files of the run say it stopped; starts afresh where there are none"
        sub.add_argument("--resume", action="store_true", help=text)
        text = "no progress, results and errors alone; the same as log.quiet=true"
        sub.add_argument("-q", "--quiet", action="store_true", help=text)
    return sub


def _run(given: argparse.Namespace) -> None:
    from mtl.evaluation.evaluate import run

    config = _config(given)
    found = run(config, given.resume)
    _add_figures(config)
    _show_results(found)


def _pretrain(given: argparse.Namespace) -> None:
    from mtl.training.pretrain import pretrain

    pretrain(_config(given), given.resume)


def _meta_train(given: argparse.Namespace) -> None:
    from mtl.training.meta_train import meta_train

    meta_train(_config(given), given.resume)


def _evaluate(given: argparse.Namespace) -> None:
    from mtl.evaluation.evaluate import evaluate

    config = _config(given)
    found = evaluate(config)
    _add_figures(config)
    _show_results(found)


def _add_figures(config: Config) -> None:
    if config.log.tensorboard:  # loads what draws
        from mtl.report.write_report import figures_to_events

        figures_to_events(config)


def _compare(given: argparse.Namespace) -> None:
    from rich.console import Console

    from mtl.compare.study import compare
    from mtl.compare.table import table

    study = compare(_config(given), given.resume, given.seeds)
    console = Console(width=None if sys.stdout.isatty() else 140)
    for name in study.settings:
        console.print(table(study, name))


def _data(given: argparse.Namespace) -> None:
    from mtl.data.show_data import show_data

    show_data(_config(given), given.sheet)


def _show_results(settings: "Sequence[Setting]") -> None:
    from rich.console import Console

    from mtl.evaluation.results import show

    show(settings, Console(width=None if sys.stdout.isatty() else 110))


def _config(given: argparse.Namespace) -> Config:
    quiet = ["log.quiet=true"] if given.quiet else []
    return load_config(find_config(given.config), [*given.overrides, *quiet])
