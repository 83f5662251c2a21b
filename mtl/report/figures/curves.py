"""How a stage went: loss, training and validation accuracy by training step, of one run or several."""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mtl.report.figures import style
from mtl.report.figures.style import PALETTE, WIDTH

Line = list[tuple[float, float]]  # (step, value)

_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
_NAME = 1.7  # inches of a name at most
_POINTS = 30  # measurements at most that are marked each
_ABSURD = 1e100  # no measurement is as large; it could not be drawn
_SMOOTHED = 12  # measurements at least over which a smooth line is drawn


def training_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure | None:
    """The measurements of one stage, a panel for each kind that there is; None where there are none.

    Validation is on top, a line for each run and setting, its best ringed and written before its name. Below
    are loss and accuracy on the batches trained on, which are measured on one batch each: where there are
    many, their moving mean is drawn over them.

    Args:
        runs: by name, lines of metrics.jsonl of one stage.
    """
    scores = {
        (run, key): line
        for run, of in runs.items()
        for key in sorted({k for x in of for k in x if k == "val" or k.startswith("val_")}, key=_in_order)
        if (line := _series(of, key, 100))
    }
    trained = {
        title: found
        for title, key, scale in (("Training loss", "loss", 1), ("Training accuracy (%)", "accuracy", 100))
        if (found := {run: line for run, of in runs.items() if (line := _series(of, key, scale))})
    }
    if not scores and not trained:
        return None
    colours = {run: PALETTE[i % len(PALETTE)] for i, run in enumerate(runs)}
    settings = list(dict.fromkeys(key for _, key in scores))
    names = {
        at: _name(*at, several=len(runs) > 1, best=max(y for _, y in line)) for at, line in scores.items()
    }
    if not scores and len(runs) > 1:  # else nothing would say which run is which
        names = {(run, ""): style.fitted(run, _NAME) for run in runs}

    right = 0.1 + max((style.width_of(name) + 0.35 for name in names.values()), default=0.2)
    top = max(1.7, 0.2 * len(names)) if scores else 1.35  # inches of the first panel
    below = list(trained) if scores else list(trained)[1:]
    bottom = 0.6 + (1.35 + 0.85 if below else 0)
    figure = style.new_figure(WIDTH, bottom + top + 0.4)
    title = "Validation accuracy (%), ringed where best" if scores else next(iter(trained))
    first = style.panel(figure, 0.55, bottom, WIDTH - 0.55 - right, top, title)
    width = (WIDTH - 0.55 - 0.3 - 0.65) / 2
    axes = dict(zip(below, _row(figure, below, width), strict=True)) | ({} if scores else {title: first})
    for (run, setting), line in scores.items():
        _draw(first, line, colours[run], _DASHES[settings.index(setting) % len(_DASHES)])
        step, best = max(line, key=lambda point: (point[1], -point[0]))
        first.plot(step, best, "o", markersize=8, color=colours[run], fillstyle="none")
    for kind, found in trained.items():
        for run, line in found.items():
            _draw_measured(axes[kind], line, colours[run])
    for one in (first, *axes.values()):
        _steps(one)
    shown = scores or {(run, ""): line for run, line in trained[title].items()}
    style.name_ends(first, [(*line[-1], names.get(at, ""), colours[at[0]]) for at, line in shown.items()])
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


def _in_order(key: str) -> list[int]:
    """Sorts val_5way_5shot before val_5way_10shot."""
    return [int(number) for number in re.findall(r"\d+", key)]


def _name(run: str, key: str, several: bool, best: float) -> str:
    """`61.2 5-way 1-shot, quickstart`: the best value, then setting and run as far as they are needed.

    The run comes last: a name written from right to left would draw what follows to its left.
    """
    setting = re.sub(r"(?<=\d)(way|shot)", r"-\1", key.removeprefix("val").strip("_").replace("_", " "))
    name = ", ".join(
        part for part in (style.fitted(setting, _NAME), style.fitted(run, _NAME) if several else "") if part
    )
    return f"{best:.1f} {name}".strip()


def _row(figure: Figure, kinds: Sequence[str], width: float) -> list[Axes]:
    """Panels beside each other; one alone is as wide as two."""
    if len(kinds) == 1:
        return [style.panel(figure, 0.55, 0.6, 2 * width + 0.65, 1.35, kinds[0])]
    return [
        style.panel(figure, 0.55 + i * (width + 0.65), 0.6, width, 1.35, kind) for i, kind in enumerate(kinds)
    ]


def _draw(axes: Axes, line: Line, colour: str, dash: Any) -> None:
    marker = "o" if len(line) <= _POINTS else ""
    axes.plot(
        *zip(*line, strict=True), color=colour, linestyle=dash, linewidth=1.8, marker=marker, markersize=3.5
    )


def _draw_measured(axes: Axes, line: Line, colour: str) -> None:
    if len(line) < _SMOOTHED:
        _draw(axes, line, colour, "-")
        return
    steps, values = zip(*line, strict=True)
    axes.plot(steps, values, color=colour, linewidth=1, alpha=0.4)
    axes.plot(steps, smooth(values), color=colour, linewidth=1.8)


def _steps(axes: Axes) -> None:
    axes.margins(x=0.02, y=0.1)
    axes.autoscale_view()
    first, last = axes.dataLim.intervalx
    if first == last:
        axes.set_xticks([first])
    else:
        style.ticks(axes.xaxis, 4, whole=True)
    style.ticks(axes.yaxis, 4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    style.axis_name(axes, "training step")
