"""How a stage went: loss, training and validation accuracy by training step, of one run or several."""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl.report.figures import style
from mtl.report.figures.style import PALETTE

Line = list[tuple[float, float]]  # (step, value)

_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
_NAME = 1.7  # inches of a name at most
_POINTS = 30  # measurements at most that are marked each
_ABSURD = 1e100  # no measurement is as large; it could not be drawn
_SMOOTHED = 12  # measurements at least over which a smooth line is drawn
_SCORES = "Validation accuracy (%), ringed where best"


@style.in_look
def training_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure | None:
    """The measurements of one stage, a panel for each kind that there is; None where there are none.

    Validation is on top, a line for each run and setting, its best ringed and written before its name. Below
    are loss and accuracy on the batches trained on, which are measured on one batch each: where there are
    many, their moving mean is drawn over them.

    Args:
        runs: by name, lines of metrics.jsonl of one stage.
    """
    keys = {key for lines in runs.values() for line in lines for key in line if re.match(r"val(_|$)", key)}
    # 5-shot comes before 10-shot
    settings = sorted(keys, key=lambda key: [int(number) for number in re.findall(r"\d+", key)])
    kinds: dict[str, list[tuple[str, str, Line]]] = {
        _SCORES: [(run, key, _series(lines, key, 100)) for run, lines in runs.items() for key in settings],
        "Training loss": [(run, "", _series(lines, "loss", 1)) for run, lines in runs.items()],
        "Training accuracy (%)": [(run, "", _series(lines, "accuracy", 100)) for run, lines in runs.items()],
    }
    kinds = {kind: drawn for kind, of in kinds.items() if (drawn := [entry for entry in of if entry[2]])}
    if not kinds:
        return None
    (title, first), *others = kinds.items()
    figure = style.new_figure(max(2.7, 1 + 0.2 * len(first)) + (2.2 if others else 0))
    heights = [figure.get_figheight() - 2.2, 2.2] if others else [1]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    top = parts[0].add_subplot()
    below = parts[1].subplots(1, len(others), squeeze=False)[0] if others else ()
    colours = {run: PALETTE[i % len(PALETTE)] for i, run in enumerate(runs)}
    for axes, (kind, drawn) in zip((top, *below), kinds.items(), strict=True):
        for run, key, line in drawn:
            if kind == _SCORES:
                _draw(axes, line, colours[run], _DASHES[settings.index(key) % len(_DASHES)])
                step, best = max(line, key=lambda point: (point[1], -point[0]))
                ring: dict[str, Any] = {"markersize": 8, "fillstyle": "none", "markeredgewidth": 1}
                axes.plot(step, best, "o", color=colours[run], **ring)
            elif len(line) < _SMOOTHED:
                _draw(axes, line, colours[run])
            else:
                steps, values = zip(*line, strict=True)
                axes.plot(steps, values, color=colours[run], linewidth=1, alpha=0.4)
                axes.plot(steps, smooth(values), color=colours[run])
        _scale(axes, kind)
    names = [_name(run, key, line, several=len(runs) > 1) for run, key, line in first]
    ends = [(*line[-1], name, colours[run]) for (run, _, line), name in zip(first, names, strict=True)]
    if title == _SCORES or len(runs) > 1:  # else the only line needs no name
        style.name_ends(top, ends)
    return figure


def _series(lines: Sequence[Mapping[str, Any]], key: str, scale: float) -> Line:
    """(step, value) of the lines that have a finite value."""
    known = [x for x in lines if isinstance(x.get(key), float | int)]
    return [(float(x["step"]), scale * float(x[key])) for x in known if abs(x[key]) < _ABSURD]


def smooth(values: Sequence[float]) -> list[float]:
    """Moving means over about a tenth of the values; at the ends over as many of these as there are."""
    reach, sums = max(1, len(values) // 20), [0.0, *accumulate(values)]
    spans = [(max(0, i - reach), min(len(values), i + reach + 1)) for i in range(len(values))]
    return [(sums[end] - sums[start]) / (end - start) for start, end in spans]


def _name(run: str, key: str, line: Line, several: bool) -> str:
    """`61.2 5-way 1-shot, quickstart`: the best value, then setting and run as far as they are needed.

    The run comes last: a name written from right to left would draw what follows to its left.
    """
    setting = re.sub(r"(?<=\d)(way|shot)", r"-\1", key.removeprefix("val").strip("_").replace("_", " "))
    parts = style.fitted(setting, _NAME), style.fitted(run, _NAME) if several else ""
    best = f"{max(value for _, value in line):.1f} " if key else ""
    return (best + ", ".join(part for part in parts if part)).strip()


def _draw(axes: Axes, line: Line, colour: str, dash: Any = "-") -> None:
    axes.plot(
        *zip(*line, strict=True), color=colour, linestyle=dash, marker="o" if len(line) <= _POINTS else ""
    )


def _scale(axes: Axes, title: str) -> None:
    axes.set(title=title, xlabel="training step")
    axes.margins(x=0.02, y=0.1)
    first, last = axes.dataLim.intervalx
    if first == last:
        axes.set_xticks([first])
    else:
        style.ticks(axes.xaxis, 4, whole=True)
    style.ticks(axes.yaxis, 4)
    axes.xaxis.set_major_formatter("{x:,.0f}")
