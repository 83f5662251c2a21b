"""The commands that show what runs recorded: hard tasks, what runs agree on, the report, the curriculum."""

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
_RUN = "folder of the run, e.g. checkpoints/omniglot"
_EXPORTS = "jsonl", "parquet"  # formats of every episode, not of the views
_FIFTYONE = "fiftyone"  # ... of every image


def add_to(commands: "Commands") -> None:
    """Adds them all."""
    summary = "show which tasks, classes and pairs were hard"
    hard = add(commands, "hard-tasks", _hard_tasks, summary, "Reads the ledger of a run.")
    hard.add_argument("folder", type=path, help=_RUN)
    hard.add_argument("--top", type=int, help="rows of each table (default 20)")
    hard.add_argument("--round", type=int, help="show the state in this round")
    hard.add_argument("--images", action="store_true", help="also show the images that were hard")
    hard.add_argument(
        "--task", metavar="ID", help="show one episode, e.g. 1-1042; json and csv name the worst"
    )
    log = (
        "of the views: table, json or csv; of every episode (docs/log.md): jsonl or parquet; of every image: "
        "fiftyone"
    )
    formats = ("table", "json", "csv", *_EXPORTS, _FIFTYONE)
    hard.add_argument("--format", choices=formats, default="table", help=log)
    phase = "with --format fiftyone: the phase that counts (default: the first, of most runs meta-train)"
    hard.add_argument("--phase", metavar="NAME", help=phase)
    out = "where jsonl, parquet or fiftyone is written (default: jsonl to standard output)"
    hard.add_argument("--out", type=path, metavar="FILE", help=out)
    follow = "show all tables again at each change, until Ctrl-C"
    hard.add_argument("--follow", action="store_true", help=follow)
    every = "how often to look for changes (default 2, or 30 if the output is not a terminal)"
    hard.add_argument("--every", type=_seconds, metavar="SECONDS", help=every)

    summary = "say how far several runs agree on which classes and pairs are hard"
    agree = add(commands, "agreement", _agreement, summary, "Reads the ledgers of two runs or more.")
    agree.add_argument("folders", type=path, nargs="+", metavar="folder", help=_RUN)
    agree.add_argument("--top", type=int, default=5, help="rows of what is hard in all runs (default 5)")
    agree.add_argument("--format", choices=("table", "json", "csv"), default="table", help="default: table")

    summary = "write a page that shows what was hard, with pictures"
    more = "Reads one run, or several, compared with the first. Writes report.html, which needs no network."
    page = add(commands, "report", _report, summary, more)
    page.add_argument("folders", type=path, nargs="+", metavar="folder", help=_RUN)
    out = "the page (default: report.html in the first folder)"
    page.add_argument("--out", type=path, metavar="HTML", help=out)
    page.add_argument(
        "--png", type=path, metavar="DIR", help="also write each figure as PNG and SVG, for papers"
    )

    summary = "draw which images counted at which epoch of a self-paced pretraining"
    more = "Draws the record of a run as curriculum.png and curriculum.gif."
    curriculum = add(commands, "curriculum", _curriculum, summary, more)
    curriculum.add_argument("folder", type=path, help=_RUN)
    out = "where the pictures go (default: the folder of the run)"
    curriculum.add_argument("--out", type=path, metavar="DIR", help=out)


def _hard_tasks(args: argparse.Namespace) -> None:
    from mtl.ledger.log_export import export
    from mtl.ledger.show import render, render_episode
    from mtl.ledger.store import Ledger
    from mtl.ledger.watch import follow
    from mtl.runtime.run_folder import RunFolder

    _require_matching(args)
    ledger_path, top = RunFolder(args.folder).ledger, 20 if args.top is None else args.top
    if args.follow:
        follow(ledger_path, top, args.format, args.every)
        return
    if args.format == _FIFTYONE:
        from mtl.report.fiftyone_labels import write_fiftyone_labels

        print(write_fiftyone_labels(args.folder, args.out, args.phase, args.top))
        return
    width = _width()
    with Ledger.read(ledger_path) as ledger:
        if args.format in _EXPORTS:
            export(ledger, args.format, args.out)
        elif args.task is not None:
            print(render_episode(ledger, args.task, args.folder, args.format, width), end="")
        else:
            print(render(ledger, top, args.round, args.format, width, args.images), end="")


def _width() -> int:
    """Of tables, in columns: the terminal's, within what can be read."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    return min(max(80, columns), 140)


def _require_matching(args: argparse.Namespace) -> None:
    """Raises UserError for options of `hard-tasks` that exclude each other."""
    given = {name for name in ("top", "round", "task", "out", "phase") if getattr(args, name) is not None}
    given |= {name for name in ("images", "follow") if getattr(args, name)}
    if args.every is not None and not args.follow:
        raise UserError("--every: is for --follow, which is missing")
    if args.follow and args.format not in {"table", "json"}:
        raise UserError(f"--format {args.format}: does not go with --follow; use table or json")
    if args.follow and args.round is not None:
        raise UserError("--round: does not go with --follow, which shows the run as it is now")
    if args.format in _EXPORTS:
        shows, allowed = f"--format {args.format}, which writes every episode", {"out"}
    elif args.format == _FIFTYONE:
        shows, allowed = f"--format {_FIFTYONE}, which writes images of one phase", {"out", "phase", "top"}
    elif args.phase is not None:
        raise UserError(f"--phase: is for --format {_FIFTYONE}; the others have all phases")
    elif args.out is not None:
        raise UserError(
            f"--out: is for --format {', '.join(_EXPORTS)} or {_FIFTYONE}; the others go to standard output"
        )
    elif args.follow:
        shows, allowed = "--follow", {"top", "follow"}
    elif args.task is not None:
        if args.format == "csv":
            raise UserError("--format csv: does not go with --task; use table or json")
        shows, allowed = "--task, which shows one episode", {"task"}
    else:
        return
    for name in sorted(given - allowed):
        raise UserError(f"--{name}: does not go with {shows}")


def _agreement(args: argparse.Namespace) -> None:
    from mtl.ledger.shared_phases import render

    print(render(args.folders, args.top, args.format, _width()), end="")


def _report(args: argparse.Namespace) -> None:
    from mtl.report.write_report import report

    page = report(args.folders, args.out, args.png)
    print(f"Report: {page}" + (f", figures: {args.png}" if args.png else ""))


def _curriculum(args: argparse.Namespace) -> None:
    from mtl.report.curriculum_pictures import draw_curriculum

    draw_curriculum(args.folder, args.out)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= _DAY:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed; it must be seconds, over 0 and up to {_DAY}")
