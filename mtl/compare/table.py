"""A study as plain numbers for JSON, as a table in the terminal and as one for Markdown."""

import math
import re
from dataclasses import asdict
from typing import Any, Literal

from rich import box
from rich.markup import escape
from rich.table import Table

from mtl.compare.differences import LEVEL, Absolute, ArmResult, Difference, Study
from mtl.compare.measures import MEASURES

_UNKNOWN = "–"
_HEADER = ("arm", "seeds", *MEASURES, "ms a step")


def to_dict(study: Study) -> dict[str, Any]:
    """All numbers of the study in plain containers: shares, not percent, and None for what is not known."""
    numbers: dict[str, Any] = _plain(
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
                    "arms": [_numbers(study, name, result) for result in results],
                }
                for name, results in study.settings.items()
            ],
            "missing": study.missing,
        }
    )
    return numbers


def table(study: Study, setting: str) -> Table:
    """The setting as a table for the terminal."""
    title, caption = escape(_title(study, setting)), escape(legend(study))
    shown = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.title_justify = shown.caption_justify = "left"
    for column in _HEADER:
        narrowest = 8 if column == "arm" else max(map(len, column.split()))
        justify: Literal["left", "right"] = "left" if column == "arm" else "right"
        shown.add_column(column, justify=justify, overflow="fold", min_width=narrowest)
    for result in study.settings[setting]:
        shown.add_row(*map(escape, _texts(study, setting, result)))
    return shown


def markdown(study: Study, setting: str) -> str:
    """The setting as a table of GitHub's Markdown, title above and legend below; ends in a newline."""
    lines = [list(_HEADER), ["---" if column == "arm" else "---:" for column in _HEADER]]
    lines += [[_literal(text) for text in _texts(study, setting, r)] for r in study.settings[setting]]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"**{_literal(_title(study, setting))}**\n\n{body}\n\n{_literal(legend(study))}\n"


def legend(study: Study) -> str:
    """How to read the figures of a table, in one paragraph."""
    arms = "1 arm" if study.compared == 1 else f"{study.compared} arms"
    missing = f" Missing, as they failed: {'; '.join(study.missing)}." if study.missing else ""
    return (
        f"In %. {study.reference}: mean over seeds (their deviation). Others: difference to it in points, "
        f"± {100 * LEVEL:g} % over seeds and tasks. * beyond 0 also when corrected for {arms} "
        f"({100 * _level_corrected(study):.4g} %).{missing}"
    )


def seeds_counted(study: Study, setting: str, result: ArmResult) -> int:
    """The seeds behind an arm's figures: those shared with the reference, of the reference all its own."""
    reference = next((r.seeds for r in study.settings[setting] if r.arm == study.reference), ())
    return len(set(result.seeds) & set(reference))


def _title(study: Study, setting: str) -> str:
    tasks, hard = study.tasks[setting]
    return f"{setting}: {tasks:,} tasks" + (f", {hard:,} drawn hard" if hard else "")


def _level_corrected(study: Study) -> float:
    return 1 - (1 - LEVEL) / max(study.compared, 1)


def _texts(study: Study, setting: str, result: ArmResult) -> list[str]:
    counted, of = seeds_counted(study, setting, result), len(study.seeds)
    if result.arm == study.reference:
        figures = [_absolute(result.absolute[name]) for name in MEASURES]
    else:
        figures = [_difference(result.differences.get(name)) for name in MEASURES]
    pace = study.costs[result.arm].seconds_per_step
    seeds = str(of) if counted == of else f"{counted} of {of}"
    return [result.arm, seeds, *figures, _UNKNOWN if pace is None else _milliseconds(1000 * pace)]


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


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


def _literal(text: str) -> str:
    """Text that Markdown shows as it is, also within a table."""
    return re.sub(r"([\\`*_|<>\[\]~])", r"\\\1", " ".join(text.split()))


def _numbers(study: Study, setting: str, result: ArmResult) -> dict[str, Any]:
    differences = {name: {**asdict(d), "proven": d.proven} for name, d in result.differences.items()}
    counted = seeds_counted(study, setting, result)
    cost = asdict(study.costs[result.arm])
    return {**asdict(result), "differences": differences, "seeds_counted": counted, **cost}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
