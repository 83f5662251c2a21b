"""Plots of a study: how arms differ from the reference, and how they learned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any

from mtl.compare.differences import LEVEL, Difference, Study
from mtl.compare.measures import MEASURES
from mtl.errors import UserError
from mtl.evaluation.task_answers import Cell
from mtl.runtime.figure_files import DPI, save_png, spread, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# widths of names are guessed: the paper grows where letters are wide
_TIGHT: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.12}
_SHOWN, _PROVEN, _FAINT = "0.45", "#c2410c", "0.85"
#: Ten colours that differ clearly; a second ten arms repeat them with dashes.
_COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
    "#8c564b", "#e377c2", "#7f7f7f", "#b5a900", "#17becf",
)  # fmt: skip
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))


def forest(study: Study, setting: str, path: Path) -> None:
    """Writes a PNG: a panel for each measure, in it the difference of each arm to the reference, in points.

    Thick lines are intervals at 95 %, thin ones those corrected for the number of arms; one that runs out of
    its panel ends in an arrow. An arm of one seed is a ring without an interval.

    Raises:
        UserError: no arm can be compared, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    arms = [r for r in study.settings[setting] if r.differences]
    measures = [m for m in MEASURES if any(math.isfinite(r.differences[m].mean) for r in arms)]
    if not measures:
        raise UserError(
            f"{setting}: no arm shares a seed with {study.reference}, so there is nothing to draw"
        )
    names = [_named(r.arm, len(r.differences[measures[0]].seeds), len(study.seeds)) for r in arms]
    # inches: names and margins, then 0.28 a row
    left, width = 0.35 + 0.075 * max(map(len, names)), 2.1
    size = left + width * len(measures) + 0.1, 1.75 + 0.28 * len(arms)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    edges = {"left": left / size[0], "right": 1 - 0.12 / size[0]}
    edges |= {"top": 1 - 0.75 / size[1], "bottom": 0.95 / size[1], "wspace": 0.08}
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False, gridspec_kw=edges)[0]
    for panel, name in zip(panels, measures, strict=True):
        _panel(panel, name, [r.differences[name] for r in arms])
    panels[0].set_yticks(range(len(arms)), names, fontsize=9, parse_math=False)
    panels[0].set_ylim(len(arms) - 0.4, -0.6)
    title = f"Difference to {study.reference}, {setting}"
    text(figure, 0.12, size[1] - 0.25, title, fontsize=12, weight="bold")
    note = (
        f"Thick: {100 * LEVEL:g} % interval over seeds and tasks. "
        f"Thin: corrected for the number of arms, {study.compared}. Orange: beyond 0 after the correction."
    )
    text(figure, 0.12, 0.2, note, fontsize=8, color="0.35")
    save_png(figure, path, **_TIGHT)


def _named(arm: str, seeds: int, of: int) -> str:
    return arm if seeds == of else f"{arm} ({seeds} of {of} seeds)"


def _panel(axes: "Axes", name: str, differences: Sequence[Difference]) -> None:
    limit = _limit([d for d in differences if math.isfinite(d.mean)])
    axes.axvline(0, color="0.2", linewidth=0.8, zorder=1)
    for row, d in enumerate(differences):
        middle, colour = 100 * d.mean, _PROVEN if d.proven else _SHOWN
        for half, thickness in ((100 * d.half_corrected, 1.0), (100 * d.half, 3.2)):
            if math.isfinite(half):
                axes.plot([middle - half, middle + half], [row, row], color=colour, linewidth=thickness)
        for end, arrow in ((-1, "<"), (1, ">")):
            if math.isfinite(d.half_corrected) and end * middle + 100 * d.half_corrected > limit:
                axes.plot(end * limit * 0.97, row, arrow, color=colour, markersize=4)
        hollow = "white" if math.isnan(d.half) else colour
        axes.plot(middle, row, "o", markersize=5.5, color=colour, markerfacecolor=hollow, zorder=3)
    axes.set_xlim(-limit, limit)
    axes.set_title(name, fontsize=9.5)
    axes.set_xlabel("points", fontsize=8.5)
    tick = _tick(limit)  # at three places, so that those of neighbouring panels do not meet
    axes.set_xticks([-tick, 0, tick], [f"{-tick:g}".replace("-", "−"), "0", f"+{tick:g}"])
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _limit(differences: Sequence[Difference]) -> float:
    """Points that a panel shows to each side: every mean, and intervals unless few seeds made them huge."""
    known = [d for d in differences if math.isfinite(d.half)]
    shown = max(abs(d.mean) for d in differences)
    if known:
        usual = median(abs(d.mean) + d.half for d in known)
        shown = max(shown, min(max(abs(d.mean) + d.half_corrected for d in known), 3 * usual))
    return 100 * 1.12 * shown or 1.0


def _tick(limit: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most 0.8 of the limit."""
    power = 10.0 ** math.floor(math.log10(0.8 * limit))
    return max(n * power for n in (1, 2, 5) if n * power <= 0.8 * limit)


def curves(cells: Sequence[Cell], reference: str, path: Path) -> None:
    """Writes a PNG: each arm's validation accuracy over steps, the mean of its seeds ± one standard error.

    Only steps that all seeds of an arm were validated at are drawn; an arm of one seed has no band.

    Raises:
        UserError: there is no curve to draw, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    of = len({cell.seed for cell in cells})
    lines: list[_Line] = []
    for arm in dict.fromkeys(cell.arm for cell in cells):
        of_arm = [cell for cell in cells if cell.arm == arm]
        if points := _mean_curve(of_arm):
            others = sum(not line.reference for line in lines)
            lines.append(_Line(_named(arm, len(of_arm), of), points, arm == reference, others))
    if not lines:
        raise UserError(
            "no arm was validated at a step that all its seeds share, so there is no curve to draw"
        )
    label = 0.4 + 0.08 * max(len(line.name) for line in lines)  # inches
    size = 7.6 + label, max(5.0, 1.3 + 0.17 * len(lines))
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.75 / size[0], 0.6 / size[1], 6.75 / size[0], 1 - 1.15 / size[1]))
    for line in lines:
        steps, means, errors = zip(*line.points, strict=True)
        over, width = (4, 2.2) if line.reference else (3, 1.3)
        axes.plot(steps, means, **line.look, linewidth=width, zorder=over)
        if len(steps) == 1:
            axes.plot(steps, means, "o", color=line.look["color"], markersize=4, zorder=over)
        low, high = ([m + sign * e for m, e in zip(means, errors, strict=True)] for sign in (-1, 1))
        axes.fill_between(
            steps, low, high, color=line.look["color"], alpha=0.12, linewidth=0, zorder=over - 2
        )
    axes.margins(x=0)
    axes.set_xlabel("training step")
    axes.set_ylabel("validation accuracy (%)")
    axes.grid(color=_FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _name_lines(axes, lines, size[1] - 1.15)
    title = "Validation accuracy while training: mean of the seeds ± one standard error"
    text(figure, 0.12, size[1] - 0.25, title, fontsize=12, weight="bold")
    save_png(figure, path, **_TIGHT)


@dataclass(frozen=True)
class _Line:
    """The curve of an arm."""

    name: str
    points: list[tuple[int, float, float]]  # (step, mean, standard error) in percent
    reference: bool
    number: int  # among the other arms

    @property
    def look(self) -> dict[str, Any]:
        if self.reference:
            return {"color": "black", "linestyle": "-"}
        dashes = _DASHES[self.number // len(_COLOURS) % len(_DASHES)]
        return {"color": _COLOURS[self.number % len(_COLOURS)], "linestyle": dashes}


def _mean_curve(cells: Sequence[Cell]) -> list[tuple[int, float, float]]:
    """(step, mean, standard error) in percent, at the steps that all cells have."""
    each = [dict(cell.curve) for cell in cells]
    points = []
    for step in sorted(set(each[0]).intersection(*each[1:])):
        values = [100 * one[step] for one in each]
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        points.append((step, fmean(values), error))
    return points


def _name_lines(axes: "Axes", lines: Sequence[_Line], height: float) -> None:
    """Leads from where each line ends to its name at the right. `height` is in inches."""
    (first, last), (low, high) = axes.get_xlim(), axes.get_ylim()
    lines = sorted(lines, key=lambda line: line.points[-1][1])
    ends = [line.points[-1][1] for line in lines]
    places = spread(ends, 0.165 * (high - low) / height, low, high)
    across = axes.get_yaxis_transform()  # x as a share of the axes, y as data
    for line, end, place in zip(lines, ends, places, strict=True):
        xs, ys = ((line.points[-1][0] - first) / (last - first), 1.0, 1.035), (end, end, place)
        axes.plot(xs, ys, transform=across, clip_on=False, **line.look, linewidth=0.7)
        weight = "bold" if line.reference else "normal"
        style = {"color": line.look["color"], "weight": weight, "fontsize": 9, "va": "center"}
        axes.text(1.045, place, line.name, transform=across, parse_math=False, **style)
