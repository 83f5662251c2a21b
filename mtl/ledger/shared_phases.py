"""What several runs agree on, phase by phase, as tables for a person or as JSON or CSV for a program.

JSON is one object: {"runs": [folder], "phases": [{"phase", "runs", "agreement", "hardest_classes",
"most_confused_pairs"}]}, where `runs` of a phase are numbers, from 1, of the folders. CSV is one table of the
same; the columns `phase`, `runs`, `view` (agreement, hardest_classes or most_confused_pairs) and `rank` say
what a row is.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from itertools import chain, combinations
from pathlib import Path

from mtl.errors import UserError, one_line
from mtl.ledger.agreement import FEWEST, Agreement, agreement, hardest, read_tallies
from mtl.ledger.queries import checked_phase, class_names, classes_drawn
from mtl.ledger.show import Format, csv_text
from mtl.ledger.store import Ledger
from mtl.ledger.tables import NAME, NUMBER, Cells, figure, percent, plain_tables
from mtl.runtime.run_folder import RunFolder

_NAMED = 3  # classes that a sentence names
_Drawn = dict[str, set[str]]  # by phase: the names of its classes


@dataclass(frozen=True)
class HardForAll:
    """A class or a pair that is hard in all runs of a phase."""

    classes: tuple[str, ...]  # one, or two
    mean_rank: float  # over the runs; 1 is the hardest of a run
    values: tuple[float, ...]  # of each run: recall of the class or confusion of the pair, in [0, 1]


@dataclass(frozen=True)
class SharedPhase:
    """A phase that at least two runs have."""

    phase: str
    runs: tuple[int, ...]  # those that have it, counted from 1
    agreement: tuple[Agreement, Agreement]  # of classes, and of pairs
    hardest_classes: list[HardForAll]
    most_confused_pairs: list[HardForAll]


def shared_phases(folders: Sequence[Path], top: int = 5) -> list[SharedPhase]:
    """Every phase that at least two of the runs have, with the `top` classes and pairs that are hard in all.

    Raises:
        UserError: there are fewer than two runs, one is given twice or has no ledger, `top` is below 1, or no
            phase has classes that two runs share.
    """
    if len(folders) < 2:
        raise UserError("agreement: needs the folders of at least two runs")
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places):
        raise UserError(f"{max(places, key=places.count)}: this run is given twice")
    with ExitStack() as opened:
        ledgers = [opened.enter_context(Ledger.read(RunFolder(folder).ledger)) for folder in folders]
        drawn = [_drawn(ledger) for ledger in ledgers]
        having = {name: [k for k, run in enumerate(drawn) if name in run] for name in chain(*drawn)}
        shared = {name: runs for name, runs in having.items() if len(runs) > 1}
        _require_shared(shared, ledgers, drawn)
        return [
            _shared_phase(name, {k: ledgers[k] for k in runs}, drawn, top) for name, runs in shared.items()
        ]


def _drawn(ledger: Ledger) -> _Drawn:
    phases = {}
    for at in ledger.phases():
        if at.episodes:
            names = class_names(ledger, at)
            phases[at.name] = {names[c] for c in classes_drawn(ledger, at)}
    return phases


def _require_shared(shared: dict[str, list[int]], ledgers: Sequence[Ledger], drawn: Sequence[_Drawn]) -> None:
    """Raises UserError unless two runs have a phase with enough classes of the same names."""
    if not shared:
        each = [f"{ledger.path} has {_listed(run)}" for ledger, run in zip(ledgers, drawn, strict=True)]
        raise UserError(f"agreement: no two runs have a phase in common; {'; '.join(each)}")
    for name, runs in shared.items():
        if any(len(drawn[a][name] & drawn[b][name]) >= FEWEST for a, b in combinations(runs, 2)):
            return
    name, runs = next(iter(shared.items()))
    each = [
        f"{ledgers[k].path} has the {ledgers[k].phase(name).split} classes {_listed(sorted(drawn[k][name]))}"
        for k in runs
    ]
    raise UserError(f"{name}: no two runs have {FEWEST} classes in common; {'; '.join(each)}")


def _listed(names: Iterable[str]) -> str:
    known = list(map(one_line, names))
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return f"{', '.join(known[:_NAMED])}{more}" if known else "none"


def _shared_phase(name: str, ledgers: dict[int, Ledger], drawn: Sequence[_Drawn], top: int) -> SharedPhase:
    """Of these runs, by their numbers from 0."""
    names = sorted(set().union(*(drawn[k][name] for k in ledgers)))
    numbers = {class_: number for number, class_ in enumerate(names)}
    tallies = [read_tallies(ledger, checked_phase(ledger, name, top), numbers) for ledger in ledgers.values()]
    classes, pairs = ([tally[k] for tally in tallies] for k in (0, 1))
    return SharedPhase(
        name,
        tuple(k + 1 for k in ledgers),
        (agreement("classes", classes), agreement("pairs", pairs)),
        [
            HardForAll((names[c],), rank, values)
            for c, rank, values in hardest(classes, top, low_is_hard=True)
        ],
        [
            HardForAll((names[pair >> 32], names[pair & 0xFFFFFFFF]), rank, values)
            for pair, rank, values in hardest(pairs, top, low_is_hard=False)
        ],
    )


def render(folders: Sequence[Path], top: int = 5, format: Format = "table", width: int = 100) -> str:
    """The agreement of the runs in these folders; errors as of `shared_phases`. `width` is the tables'."""
    phases = shared_phases(folders, top)
    if format == "table":
        return plain_tables([*_run_lines(folders), *chain(*map(_tables, phases))], width)
    if format == "csv":
        return _csv(phases)
    whole = {"runs": list(map(str, folders)), "phases": [asdict(phase) for phase in phases]}
    return json.dumps(whole, indent=2, allow_nan=False) + "\n"


def _run_lines(folders: Sequence[Path]) -> list[str]:
    return [*(f"run {number}: {folder}" for number, folder in enumerate(folders, 1)), ""]


def _tables(shared: SharedPhase) -> list[str | Cells]:
    runs = ", ".join(map(str, shared.runs))
    columns = dict.fromkeys(("shared", "mean", "lowest", "highest", "reliability", "corrected"), NUMBER)
    cells = [
        [a.of, f"{a.shared:,}", *map(figure, (a.mean, a.lowest, a.highest, a.reliability, a.corrected))]
        for a in shared.agreement
    ]
    return [
        f"{shared.phase}: runs {runs}",
        "",
        ("Agreement of two runs on what is hard (rank correlation)", {"of": NAME} | columns, cells),
        _hard("Hardest classes in all runs (recall in %)", ("class",), runs, shared.hardest_classes),
        _hard(
            "Most confused pairs in all runs (probability in %)",
            ("first", "second"),
            runs,
            shared.most_confused_pairs,
        ),
    ]


def _hard(title: str, names: Sequence[str], runs: str, rows: Sequence[HardForAll]) -> Cells:
    columns = dict.fromkeys(names, NAME) | {"mean rank": NUMBER, f"in runs {runs}": NAME}
    cells = [
        [*row.classes, f"{row.mean_rank:.1f}", "  ".join(f"{percent(value):>5}" for value in row.values)]
        for row in rows
    ]
    return title, columns, cells


def _csv(phases: Sequence[SharedPhase]) -> str:
    rows = [
        {"phase": shared.phase, "runs": shared.runs, "view": view, "rank": rank, **asdict(row)}
        for shared in phases
        for view in ("agreement", "hardest_classes", "most_confused_pairs")
        for rank, row in enumerate(getattr(shared, view), 1)
    ]
    of_rows = [field.name for row in (Agreement, HardForAll) for field in fields(row)]
    return csv_text(["phase", "runs", "view", "rank", *of_rows], rows)
