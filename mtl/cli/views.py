"""The commands that show what a run has left."""

import argparse
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from mtl.cli.subcommand import add, path
from mtl.errors import UserError

if TYPE_CHECKING:
    from mtl.cli.subcommand import Commands

_DAY = 86400  # seconds


def add_to(commands: "Commands") -> None:
    """Adds them all."""
    hard = add(
        commands,
        "hard-tasks",
        _hard_tasks,
        "which tasks, classes and pairs were hard",
        "Reads the ledger of a run.",
    )
    hard.add_argument("folder", type=path, help="of the run, e.g. checkpoints/omniglot")
    hard.add_argument("--top", type=int, default=20, help="rows a table (default 20)")
    hard.add_argument("--round", type=int, help="as it stood in this round")
    hard.add_argument("--format", choices=("table", "json", "csv"), default="table")
    hard.add_argument(
        "--follow", action="store_true", help="show them while the run goes on, till Ctrl-C, and what is new"
    )
    hard.add_argument(
        "--every",
        type=_seconds,
        metavar="SECONDS",
        help="how often to look (default 2, elsewhere than in a terminal 30)",
    )
    page = add(
        commands,
        "report",
        _report,
        "one page that shows what was hard, with pictures",
        "Reads one run, or several, held\nagainst the first. Writes report.html, which needs no network.",
    )
    page.add_argument(
        "folders", type=path, nargs="+", metavar="folder", help="of a run, e.g. checkpoints/omniglot"
    )
    page.add_argument(
        "--out", type=path, metavar="HTML", help="the page (default: report.html in the first folder)"
    )
    page.add_argument("--png", type=path, metavar="DIR", help="each figure as PNG and SVG too, for papers")
    paces = add(
        commands,
        "curriculum",
        _curriculum,
        "which images of a self-paced pretraining counted when",
        "Draws the record of a run as\ncurriculum.png and curriculum.gif.",
    )
    paces.add_argument("folder", type=path, help="of the run, e.g. checkpoints/omniglot")
    paces.add_argument(
        "--out", type=path, metavar="DIR", help="where the pictures go (default: the folder of the run)"
    )


def _hard_tasks(given: argparse.Namespace) -> None:
    from mtl.ledger.show import render
    from mtl.ledger.store import Ledger
    from mtl.ledger.watch import follow
    from mtl.runtime.run_folder import RunFolder

    ledger_path = RunFolder(given.folder).ledger
    if given.follow:
        if given.format == "csv":
            raise UserError("--format csv: does not go with --follow; table and json do")
        if given.round is not None:
            raise UserError("--round: does not go with --follow, which shows the run as it stands")
        follow(ledger_path, given.top, given.format, given.every)
        return
    if given.every is not None:
        raise UserError("--every: says how often --follow looks, and does not go without it")
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    with Ledger.read(ledger_path) as ledger:
        print(render(ledger, given.top, given.round, given.format, min(max(80, columns), 140)), end="")


def _report(given: argparse.Namespace) -> None:
    from mtl.report.write_report import report

    page = report(given.folders, given.out, given.png)
    print(f"Report: {page}" + (f", figures: {given.png}" if given.png else ""))


def _curriculum(given: argparse.Namespace) -> None:
    from mtl.report.curriculum_pictures import draw_curriculum

    draw_curriculum(given.folder, given.out)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= _DAY:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed; it must be seconds, over 0 and up to {_DAY}")
