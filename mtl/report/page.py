"""A report as one HTML page, and what its templates ask for."""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise

from mtl.ledger.queries import is_evaluation
from mtl.report.contents import PhaseReport, Report, Shown, TaskCard, Wrong
from mtl.report.layout import lay_out, position

_NAMED = 10  # classes of a task that its heading names; of larger tasks those that are shown
_POINTS = 48  # of a sparkline, more are averaged


def render(report: Report) -> str:
    """The page, to be written as UTF-8."""
    said: list[str] = []
    return lay_out(
        "page.html",
        helpers={
            "known": known,
            "sparkline": sparkline,
            "scale": scale,
            "by_class": by_class,
            "heading": heading,
            "first_time": partial(_first_time, said),
        },
        filters={"phases": in_order},
        report=report,
    )


def _first_time(said: list[str], what: str) -> bool:
    """Whether `what` was not asked about before: a measure is explained where it first stands."""
    if what in said:
        return False
    said.append(what)
    return True


def known(values: Iterable[float | None]) -> list[float]:
    """Those that are numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


def scale(rows: Iterable[Sequence[float | None]]) -> tuple[float, float]:
    """From the tenth below the least of some shares to the tenth above the largest: one axis for them all."""
    values = [value for row in rows for value in known(row)]
    if not values:
        return 0.0, 1.0
    low, high = math.floor(10 * min(values)) / 10, math.ceil(10 * max(values)) / 10
    return (low, high) if low < high else (low - 0.1, high + 0.1)


def sparkline(
    values: Sequence[float | None], axis: tuple[float, float], width: float = 96, height: float = 20
) -> list[list[tuple[float, float]]]:
    """The lines of a small curve: (x, y) with y downwards, a new line after every gap (None or nan).

    More than 48 values are cut into as many equal stretches, and each stands for its mean.
    """
    points = _thinned(values)
    step = width / max(len(points) - 1, 1)
    lines: list[list[tuple[float, float]]] = [[]]
    for i, value in enumerate(points):
        if value is None:
            lines.append([])
        else:
            lines[-1].append((round(i * step, 1), round(height - position(value, axis, height), 1)))
    return [line for line in lines if line]


def _thinned(values: Sequence[float | None]) -> list[float | None]:
    most = min(len(values), _POINTS)
    cuts = [i * len(values) // max(most, 1) for i in range(most + 1)]
    stretches = [known(values[start:end]) for start, end in pairwise(cuts)]
    return [sum(part) / len(part) if part else None for part in stretches]


def by_class(task: TaskCard) -> list[tuple[Shown | None, list[Wrong]]]:
    """Each class of a task with its wrongly answered queries; at last those of no class that is shown."""
    names = [shown.name for shown in task.shown]
    wrong: list[list[Wrong]] = [[] for _ in range(len(names) + 1)]
    for query in task.wrong:
        wrong[names.index(query.own) if query.own in names else -1].append(query)
    rows: list[tuple[Shown | None, list[Wrong]]] = list(zip(task.shown, wrong, strict=False))
    return [*rows, (None, wrong[-1])] if wrong[-1] else rows


def heading(task: TaskCard) -> tuple[list[str], list[str]]:
    """Which classes of a task its heading names, and the rest."""
    if len(task.classes) <= _NAMED:
        return list(task.classes), []
    named = [shown.name for shown in task.shown] or list(task.classes[:_NAMED])
    return named, [name for name in task.classes if name not in named]


def in_order(phases: Sequence[PhaseReport]) -> list[PhaseReport]:
    """Training first, evaluations after it."""
    return sorted(phases, key=lambda phase: is_evaluation(phase.title))
