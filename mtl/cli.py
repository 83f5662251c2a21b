"""The command line: one subcommand a stage, no logic of its own."""

import argparse
import io
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mtl.config import Config, load_config
from mtl.errors import RunStopped, UserError

if TYPE_CHECKING:
    from mtl.stages.results import Setting

_DAY = 86400  # seconds
_OVERRIDES = """
Any value of the config can be given on the command line as key.sub=value, e.g.
  meta.way=5 hard_tasks.sampler=uniform run=my-run evaluate.settings='[[5,1],[20,1]]'
A run lives in <checkpoints>/<run>/ and is never overwritten: --resume goes on with it.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Returns the exit code: 0 done, 1 stopped, 2 a mistake of the user, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter of a name still shows the rest
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = _parse(arguments)
    command: Callable[[argparse.Namespace], None] = given.command
    try:
        command(given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunStopped as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, as in `| head`, has had enough
        sys.stderr.close()
    return 0


def _run(given: argparse.Namespace) -> None:
    from mtl.stages.run import run

    _show_results(run(_config(given), given.resume))


def _pretrain(given: argparse.Namespace) -> None:
    from mtl.stages.pretrain import pretrain

    pretrain(_config(given), given.resume)


def _meta_train(given: argparse.Namespace) -> None:
    from mtl.stages.meta_train import meta_train

    meta_train(_config(given), given.resume)


def _evaluate(given: argparse.Namespace) -> None:
    from mtl.stages.evaluate import evaluate

    _show_results(evaluate(_config(given)))


def _compare(given: argparse.Namespace) -> None:
    from rich.console import Console

    from mtl.compare.table import table
    from mtl.stages.compare import compare

    study = compare(_config(given), given.resume, given.seeds)
    console = Console(width=None if sys.stdout.isatty() else 140)
    for name in study.settings:
        console.print(table(study, name))


def _hard_tasks(given: argparse.Namespace) -> None:
    from mtl.hard_tasks.ledger import Ledger
    from mtl.hard_tasks.show import render
    from mtl.runtime.run_folder import RunFolder
    from mtl.stages.follow import follow

    path = RunFolder(Path(given.folder)).ledger
    if given.follow:
        if given.format == "csv":
            raise UserError("--format csv: does not go with --follow; table and json do")
        if given.round is not None:
            raise UserError("--round: does not go with --follow, which shows the run as it stands")
        follow(path, given.top, given.format, given.every)
        return
    if given.every is not None:
        raise UserError("--every: says how often --follow looks, and does not go without it")
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    with Ledger.read(path) as ledger:
        print(render(ledger, given.top, given.round, given.format, min(max(80, columns), 140)), end="")


def _data(given: argparse.Namespace) -> None:
    from mtl.stages.show_data import show_data

    show_data(_config(given), Path(given.sheet) if given.sheet else None)


def _report(given: argparse.Namespace) -> None:
    from mtl.stages.report import report

    folders = [Path(folder) for folder in given.folders]
    path = report(folders, Path(given.out) if given.out else None, Path(given.png) if given.png else None)
    print(f"Report: {path}" + (f", figures: {given.png}" if given.png else ""))


def _curriculum(given: argparse.Namespace) -> None:
    from mtl.stages.draw_curriculum import draw_curriculum

    draw_curriculum(Path(given.folder), Path(given.out) if given.out else None)


def _show_results(settings: "Sequence[Setting]") -> None:
    from rich.console import Console

    from mtl.stages.results import show

    show(settings, Console(width=None if sys.stdout.isatty() else 110))


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= _DAY:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed; it must be seconds, over 0 and up to {_DAY}")


def _config(given: argparse.Namespace) -> Config:
    quiet = ["log.quiet=true"] if given.quiet else []
    return load_config(given.config, [*given.overrides, *quiet])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Overrides may stand on both sides of a flag, which argparse alone does not allow."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(given, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        given.overrides += rest
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_meta.py",
        description="Few-shot image classification by meta-transfer learning, with hard-task resampling.",
        epilog="Start with: python run_meta.py run --config configs/quickstart.yaml",
    )
    stages = parser.add_subparsers(required=True, metavar="command")

    def add(
        name: str, command: Callable[[argparse.Namespace], None], summary: str, more: str
    ) -> argparse.ArgumentParser:
        sub = stages.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}. {more}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(command=command)
        return sub

    def takes_config(sub: argparse.ArgumentParser, resumable: bool) -> argparse.ArgumentParser:
        sub.epilog = _OVERRIDES
        sub.add_argument("--config", metavar="FILE", required=True, help="YAML file; configs/ holds some")
        sub.add_argument("overrides", nargs="*", metavar="key.sub=value", help="laid over the config")
        sub.set_defaults(quiet=False)
        if resumable:
            text = "go on where the files of the run say it stopped; starts afresh where there are none"
            sub.add_argument("--resume", action="store_true", help=text)
            text = "no progress, results and errors alone; the same as log.quiet=true"
            sub.add_argument("-q", "--quiet", action="store_true", help=text)
        return sub

    takes_config(
        add("run", _run, "all stages", "Pretrain, meta-train, evaluate; prints the results."), resumable=True
    )
    takes_config(
        add("pretrain", _pretrain, "train the backbone on the base classes", "Writes pretrain.pt."),
        resumable=True,
    )
    takes_config(
        add(
            "meta-train",
            _meta_train,
            "meta-train on episodes, resampling the hard ones",
            "Needs pretrain.pt. Writes\nmeta.pt and the ledger hard_tasks.sqlite.",
        ),
        resumable=True,
    )
    takes_config(
        add(
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
    comparison = takes_config(
        add(
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
    data = takes_config(
        add(
            "data",
            _data,
            "what the image set holds",
            "Splits, classes, counts, sizes, and a sheet of samples.",
        ),
        resumable=False,
    )
    data.add_argument(
        "--sheet", metavar="PNG", help="where to draw the sample sheet (default: <root>/<name>.png)"
    )
    views = add(
        "hard-tasks", _hard_tasks, "which tasks, classes and pairs were hard", "Reads the ledger of a run."
    )
    views.add_argument("folder", help="of the run, e.g. checkpoints/omniglot")
    views.add_argument("--top", type=int, default=20, help="rows a table (default 20)")
    views.add_argument("--round", type=int, help="as it stood in this round")
    views.add_argument("--format", choices=("table", "json", "csv"), default="table")
    views.add_argument(
        "--follow", action="store_true", help="show them while the run goes on, till Ctrl-C, and what is new"
    )
    views.add_argument(
        "--every",
        type=_seconds,
        metavar="SECONDS",
        help="how often to look (default 2, elsewhere than in a terminal 30)",
    )
    page = add(
        "report",
        _report,
        "one page that shows what was hard, with pictures",
        "Reads one run, or several, held\nagainst the first. Writes report.html, which needs no network.",
    )
    page.add_argument("folders", nargs="+", metavar="folder", help="of a run, e.g. checkpoints/omniglot")
    page.add_argument("--out", metavar="HTML", help="the page (default: report.html in the first folder)")
    page.add_argument("--png", metavar="DIR", help="each figure as PNG and SVG too, for papers")
    paces = add(
        "curriculum",
        _curriculum,
        "which images of a self-paced pretraining counted when",
        "Draws the record of a run as\ncurriculum.png and curriculum.gif.",
    )
    paces.add_argument("folder", help="of the run, e.g. checkpoints/omniglot")
    paces.add_argument("--out", metavar="DIR", help="where the pictures go (default: the folder of the run)")
    return parser
