"""A study as plain numbers for JSON, as a table in the terminal and as one for Markdown."""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.markup import escape
from rich.table import Table

from mtl.compare.differences import LEVEL, Absolute, ArmResult, Cost, Difference, Study
from mtl.compare.measures import MEASURES

_UNKNOWN = "–"


@dataclass(frozen=True)
class Row:
    """One arm at one setting, and what the study knows of it besides."""

    result: ArmResult
    counted: int  # seeds behind the figures: those shared with the reference, of the reference its own
    of: int  # seeds of the study
    cost: Cost


def rows(study: Study, setting: str) -> list[Row]:
    """The arms of a setting, the reference first: what all tables show."""
    results = study.settings[setting]
    own = next((r.seeds for r in results if r.arm == study.reference), ())
    return [Row(r, len(set(r.seeds) & set(own)), len(study.seeds), study.costs[r.arm]) for r in results]


def to_dict(study: Study) -> dict[str, Any]:
    """All that the study found in plain containers: shares, not percent, and None for what is not known."""
    found: dict[str, Any] = _plain(
        {
            "reference": study.reference,
            "seeds": study.seeds,
            "compared": study.compared,
            "level": LEVEL,
            "level_corrected": _level_corrected(study),
            "resamples": study.resamples,
            "settings": [
                {
                    "setting": name,
                    "tasks": study.tasks[name][0],
                    "tasks_drawn_hard": study.tasks[name][1],
                    "arms": [_numbers(row) for row in rows(study, name)],
                }
                for name in study.settings
            ],
        }
    )
    return found


def table(study: Study, setting: str) -> Table:
    """The setting as a table for the terminal."""
    title, caption = escape(_title(study, setting)), escape(legend(study))
    shown = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.title_justify = shown.caption_justify = "left"
    for column in _header():
        narrowest = 8 if column == "arm" else max(map(len, column.split()))
        justify: Literal["left", "right"] = "left" if column == "arm" else "right"
        shown.add_column(column, justify=justify, overflow="fold", min_width=narrowest)
    for row in rows(study, setting):
        shown.add_row(*(escape(text) for text in _texts(row, study)))
    return shown


def markdown(study: Study, setting: str) -> str:
    """The setting as a table of GitHub's Markdown, title above and legend below; ends in a newline."""
    header = _header()
    lines = [header, ["---" if column == "arm" else "---:" for column in header]]
    lines += [[_literal(text) for text in _texts(row, study)] for row in rows(study, setting)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"**{_literal(_title(study, setting))}**\n\n{body}\n\n{_literal(legend(study))}\n"


def legend(study: Study) -> str:
    """How to read the figures of a table, in one paragraph."""
    arms = "1 arm" if study.compared == 1 else f"{study.compared} arms"
    return (
        f"In %. {study.reference}: mean over seeds (their deviation). Others: difference to it in points, "
        f"± {100 * LEVEL:g} % over seeds and tasks. * beyond 0 also when corrected for {arms} "
        f"({100 * _level_corrected(study):.4g} %)."
    )


def _title(study: Study, setting: str) -> str:
    tasks, hard = study.tasks[setting]
    return f"{setting}: {tasks:,} tasks" + (f", {hard:,} drawn hard" if hard else "")


def _level_corrected(study: Study) -> float:
    return 1 - (1 - LEVEL) / max(study.compared, 1)


def _header() -> list[str]:
    return ["arm", "seeds", *MEASURES, "ms a step"]


def _texts(row: Row, study: Study) -> list[str]:
    result = row.result
    seeds = str(row.of) if row.counted == row.of else f"{row.counted} of {row.of}"
    if result.arm == study.reference:
        figures = [_absolute(result.absolute[name]) for name in MEASURES]
    else:
        figures = [_difference(result.differences.get(name)) for name in MEASURES]
    pace = row.cost.seconds_per_step
    return [result.arm, seeds, *figures, _UNKNOWN if pace is None else _milliseconds(1000 * pace)]


def _absolute(value: Absolute) -> str:
    if math.isnan(value.mean):
        return _UNKNOWN
    deviation = _UNKNOWN if math.isnan(value.deviation) else f"{100 * value.deviation:.2f}"
    return f"{100 * value.mean:.2f} ({deviation})"


def _difference(value: Difference | None) -> str:
    if value is None or math.isnan(value.mean):
        return _UNKNOWN
    half = _UNKNOWN if math.isnan(value.half) else f"{100 * value.half:.2f}"
    points = round(100 * value.mean, 2) + 0.0  # no -0.00
    return f"{points:+.2f} ± {half}{'*' if value.proven else ''}"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _literal(text: str) -> str:
    """Text that Markdown shows as it is, also within a table."""
    return re.sub(r"([\\`*_|<>\[\]~])", r"\\\1", " ".join(text.split()))


def _numbers(row: Row) -> dict[str, Any]:
    differences = {
        name: {**dataclasses.asdict(d), "proven": d.proven} for name, d in row.result.differences.items()
    }
    numbers = {**dataclasses.asdict(row.result), "differences": differences}
    return {**numbers, "seeds_counted": row.counted, **dataclasses.asdict(row.cost)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
