"""Runs the benchmarks, prints a table and writes benchmarks/results.json.

make bench
python -m benchmarks meta_step evaluation
"""

import argparse
import dataclasses
import importlib
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Row

NAMES = (
    "meta_step",
    "adaptation",
    "evaluation",
    "hard_tasks",
    "rounds",
    "pretraining",
    "distributed",
    "memory",
    "large_set",
    "start_up",
    "predict",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every target is met, 1 where one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed, as ratios.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"which of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    how = parser.parse_args(arguments)
    unknown = sorted(set(how.names) - set(NAMES))
    if unknown:
        parser.error(f"{unknown[0]}: there is no such benchmark; there are {', '.join(NAMES)}")
    console = Console(width=140)
    found: dict[str, list[Row]] = {}
    for name in how.names or NAMES:
        print(f"{name} …", file=sys.stderr, flush=True)
        found[name] = list(importlib.import_module(f"benchmarks.{name}").rows(how.quick))
        console.print(table(name, found[name]))
    how.out.write_text(json.dumps(report(found, how.quick), indent=1), encoding="utf-8")
    return int(any(not row.met for rows in found.values() for row in rows))


def table(name: str, rows: Sequence[Row]) -> Table:
    """The figures of one benchmark beside their targets."""
    drawn = Table(title=name.replace("_", " "), title_justify="left")
    for column, justify in (("", "left"), ("measured", "right"), ("target", "right"), ("", "left")):
        drawn.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        bound = "" if row.target is None else f"{'≤' if row.at_most else '≥'} {row.target:g} {row.unit}"
        missed = "" if row.met else "  missed"
        drawn.add_row(row.what, f"{row.value:.3g} {row.unit}{missed}", bound, row.note)
    return drawn


def report(found: dict[str, list[Row]], quick: bool) -> dict[str, object]:
    """Everything as plain containers, with what it was measured on."""
    machine = {
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    rows = {name: [{**dataclasses.asdict(r), "met": r.met} for r in rows] for name, rows in found.items()}
    return {**machine, "quick": quick, "benchmarks": rows}


if __name__ == "__main__":
    sys.exit(main())
