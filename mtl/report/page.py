"""A report as one HTML page that holds all it needs: style, script, pictures and figures.

Templates take text as text: everything is escaped but the figures' SVG, which is the project's own. A content
policy names the hash of the page's script, so that nothing can be fetched and nothing else can run. The same
report gives the same bytes.
"""

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mtl.hard_tasks.views import is_evaluation
from mtl.report.contents import PhaseReport, Report, Shown, TaskCard, Wrong

_TEMPLATES = Path(__file__).parent / "templates"
_UNKNOWN = "–"
_SPACE = "\N{NO-BREAK SPACE}"
_NAMED = 10  # classes of a task that its heading names; of larger tasks those that are shown
_POINTS = 48  # of a sparkline, more are averaged
# What HTML forbids or no UTF-8 can hold: control characters and halves of surrogate pairs.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def render(report: Report) -> str:
    """The page, to be written as UTF-8."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "change": partial(percent, signed=True),
        "count": count,
        "figure": figure,
        "key": sort_key,
        "breakable": breakable,
        "phases": in_order,
    }
    environment.globals |= {
        "known": known,
        "sparkline": sparkline,
        "position": position,
        "scale": scale,
        "by_class": by_class,
        "heading": heading,
    }
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    said: list[str] = []
    return environment.get_template("page.html").render(
        report=report,
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        first_time=partial(_first_time, said),
    )


def _printable(value: Any) -> Any:
    """What `{{ }}` writes; a name may come from a file system that allows anything."""
    if not isinstance(value, str):
        return value
    clean = _UNPRINTABLE.sub("�", str(value))
    return Markup(clean) if isinstance(value, Markup) else clean


def breakable(name: str) -> Markup:
    """A name that may go on in another line after each / and _, rather than anywhere."""
    parts = re.split("(?<=[/_])", str(_printable(name)))
    return Markup("<wbr>").join(parts)  # which escapes them


def _first_time(said: list[str], what: str) -> bool:
    """Whether `what` was not asked about before: a measure is explained where it first stands."""
    if what in said:
        return False
    said.append(what)
    return True


def percent(share: float | None, digits: int = 1, signed: bool = False) -> str:
    """A share as a figure in percent, without the sign %; "–" where it is not known."""
    if share is None or not math.isfinite(share):
        return _UNKNOWN
    shown = f"{100 * share:+.{digits}f}" if signed else f"{100 * share:.{digits}f}"
    if not any(digit in shown for digit in "123456789"):
        shown = shown.lstrip("+-")  # no -0.0
    return shown.replace("-", "−")


def count(number: int) -> str:
    """12400 as "12,400"."""
    return f"{number:,}"


def figure(value: float | None, digits: int = 3) -> str:
    """Three decimals, or significant digits where those would all be 0; "–" where it is not known."""
    if value is None or not math.isfinite(value):
        return _UNKNOWN
    shown = f"{value:.{digits}f}" if value == 0 or abs(value) >= 10**-digits else f"{value:.2g}"
    return shown.replace("-", "−")


def sort_key(value: float | None) -> str:
    """What a column is sorted by; "" where there is no number."""
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"


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


def position(value: float, axis: tuple[float, float], size: float) -> float:
    """Where `value` stands on an axis `size` long; one beyond stands at the end.

    Raises:
        ValueError: the axis does not go up.
    """
    low, high = axis
    if not low < high:
        raise ValueError(f"an axis must go up, not from {low} to {high}")
    return round(size * min(max((value - low) / (high - low), 0.0), 1.0), 1)


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
