"""Reports as one HTML page, and what all pages share: one file, escaping, a content policy, numbers.

Templates take text as text: everything is escaped but what is marked as the project's own. A content policy
names the hash of the page's script, so that nothing can be fetched and nothing else can run. The same
contents give the same bytes.
"""

import base64
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mtl.ledger.queries import is_evaluation
from mtl.report.contents import PhaseReport, Report, RunReport, ShownClass, TaskCard, WrongQuery

_TEMPLATES = Path(__file__).parent / "templates"
_UNKNOWN = "–"
# What HTML forbids or no UTF-8 can hold: control characters and halves of surrogate pairs.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMBER = re.compile(r"\d+[._ -]+(?=[^\W\d_])")  # and what parts it from a name that begins with a letter
_NAMED = 10  # classes of a task that its heading names; of larger tasks those that are shown
_POINTS = 48  # of a sparkline, more are averaged


def render(report: Report) -> str:
    """The page of a report, to be written as UTF-8."""
    explained: set[str] = set()

    def first_time(measure: str) -> bool:
        """True at the first call for a measure, which is explained where it first appears."""
        if measure in explained:
            return False
        explained.add(measure)
        return True

    helpers = (known, sparkline, scale, by_class, heading, first_time, glanced)
    return lay_out(
        "page.html",
        helpers={helper.__name__: helper for helper in helpers},
        filters={"phases": in_order},
        report=report,
    )


def lay_out(
    template: str,
    helpers: Mapping[str, Callable[..., Any]],
    filters: Mapping[str, Callable[..., Any]],
    styles: Sequence[str] = ("style.css",),
    scripts: Sequence[str] = ("script.js",),
    **contents: Any,
) -> str:
    """A page, to be written as UTF-8.

    Args:
        template: its file.
        helpers: functions that templates call by these names.
        filters: further filters; percent, change, count, figure, key and breakable are there.
        styles, scripts: files that make up its style and its script.
        contents: what the template lays out.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
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
        **filters,
    }
    environment.globals |= {"position": position, **helpers}
    style, script = (
        "\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names)
        for names in (styles, scripts)
    )
    return environment.get_template(template).render(
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **contents,
    )


def printable(value: Any) -> Any:
    """What `{{ }}` writes; a name may come from a file system that allows anything."""
    if not isinstance(value, str):
        return value
    clean = _UNPRINTABLE.sub("�", str(value))
    return Markup(clean) if isinstance(value, Markup) else clean


def breakable(name: str) -> Markup:
    """A name that may go on in another line after each / and _, rather than anywhere."""
    parts = re.split("(?<=[/_])", str(printable(name)))
    return Markup("<wbr>").join(parts)  # which escapes them


def without_numbers(names: Sequence[str]) -> dict[str, str]:
    """Each class name as people read it: "078.Gray_Kingbird" as "Gray_Kingbird".

    Names stay whole unless all begin with a number and their rests are distinct.
    """
    rests = [_NUMBER.sub("", name) for name in names]
    shorter = all(map(_NUMBER.match, names)) and len(set(rests)) == len(rests)
    return dict(zip(names, rests if shorter else names, strict=True))


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


def position(value: float, axis: tuple[float, float], size: float) -> float:
    """The place of `value` on an axis `size` long; one beyond is at the end.

    Raises:
        ValueError: the axis does not go up.
    """
    low, high = axis
    if not low < high:
        raise ValueError(f"an axis must go up, not from {low} to {high}")
    return round(size * min(max((value - low) / (high - low), 0.0), 1.0), 1)


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

    More than 48 values are cut into as many equal parts, of which the means are drawn.
    """
    most = min(len(values), _POINTS)
    cuts = [i * len(values) // max(most, 1) for i in range(most + 1)]
    parts = [known(values[start:end]) for start, end in pairwise(cuts)]
    points = [sum(part) / len(part) if part else None for part in parts]
    step = width / max(len(points) - 1, 1)
    lines: list[list[tuple[float, float]]] = [[]]
    for i, value in enumerate(points):
        if value is None:
            lines.append([])
        else:
            lines[-1].append((round(i * step, 1), round(height - position(value, axis, height), 1)))
    return [line for line in lines if line]


def by_class(card: TaskCard) -> list[tuple[ShownClass | None, list[WrongQuery]]]:
    """Each class of a task with its wrongly classified queries; last, those of classes that are not shown."""
    names = [shown.name for shown in card.shown]
    wrong: list[list[WrongQuery]] = [[] for _ in range(len(names) + 1)]
    for query in card.wrong:
        wrong[names.index(query.own) if query.own in names else -1].append(query)
    rows: list[tuple[ShownClass | None, list[WrongQuery]]] = list(zip(card.shown, wrong, strict=False))
    return [*rows, (None, wrong[-1])] if wrong[-1] else rows


def heading(card: TaskCard) -> tuple[list[str], list[str]]:
    """The classes of a task that its heading names, and the rest."""
    classes = list(card.task.classes)
    if len(classes) <= _NAMED:
        return classes, []
    named = [shown.name for shown in card.shown] or classes[:_NAMED]
    return named, [name for name in classes if name not in named]


def in_order(phases: Sequence[PhaseReport]) -> list[PhaseReport]:
    """Training first, evaluations after it."""
    return sorted(phases, key=lambda phase: is_evaluation(phase.title))


def glanced(run: RunReport) -> list[tuple[int, PhaseReport]]:
    """The first evaluation and the first training with something hard in it, numbered as on the page."""
    found: dict[bool, tuple[int, PhaseReport]] = {}
    for number, phase in enumerate(in_order(run.phases), 1):
        if phase.neighbourhoods or phase.tasks or phase.classes or phase.pairs:
            found.setdefault(is_evaluation(phase.title), (number, phase))
    return [found[evaluated] for evaluated in (True, False) if evaluated in found]
