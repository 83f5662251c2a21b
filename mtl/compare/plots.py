"""Plots of a study: how arms differ from the reference, and how they learned."""

import math
import textwrap
from collections.abc import Sequence
from itertools import cycle
from statistics import fmean, median, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl.compare.differences import LEVEL, Difference, Study
from mtl.compare.measures import MEASURES
from mtl.errors import UserError
from mtl.evaluation.task_answers import Cell
from mtl.report.figures import style

_SHOWN, _PROVEN = "0.45", style.VERMILION
_NAME = 2.4  # inches of a name at most
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))  # after six colours each


@style.in_look
def forest(study: Study, setting: str) -> Figure:
    """A panel for each measure, in it the difference of each arm to the reference, in points.

    Thick lines are intervals at 95 %, thin ones those corrected for the number of arms; one that runs out of
    its panel ends in an arrow. An arm of one seed is a ring without an interval.

    Raises:
        UserError: no arm can be compared.
    """
    arms = [r for r in study.settings[setting] if r.differences]
    measures = [m for m in MEASURES if any(math.isfinite(r.differences[m].mean) for r in arms)]
    if not measures:
        raise UserError(
            f"{setting}: no arm shares a seed with {study.reference}, so there is nothing to draw"
        )
    figure = style.new_figure(1.7 + 0.28 * len(arms), _NAME + 2.1 * len(measures))
    figure.suptitle(f"Difference to {study.reference}, {setting}", x=0.01, ha="left", weight="bold")
    note = (
        f"Thick: {100 * LEVEL:g} % interval over seeds and tasks. Thin: corrected for the number of arms, "
        f"{study.compared}. Orange: beyond 0 after the correction."
    )
    wrapped = textwrap.fill(note, 30 + 24 * len(measures))
    figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=style.SMALL, color=style.QUIET)
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, measures, strict=True):
        _panel(axes, [r.differences[name] for r in arms])
        axes.set(title=name, xlabel="points")
    names = [_named(r.arm, len(r.differences[measures[0]].seeds), len(study.seeds)) for r in arms]
    style.rows(panels[0], [style.fitted(name, _NAME) for name in names])
    return figure


def _named(arm: str, seeds: int, of: int) -> str:
    return arm if seeds == of else f"{arm} ({seeds} of {of} seeds)"


def _panel(axes: Axes, differences: Sequence[Difference]) -> None:
    limit = _limit([d for d in differences if math.isfinite(d.mean)])
    axes.axvline(0, color=style.INK, linewidth=0.8, zorder=1)
    for row, d in enumerate(differences):
        middle, colour = 100 * d.mean, _PROVEN if d.proven else _SHOWN
        for half, thickness in ((100 * d.half_corrected, 1.0), (100 * d.half, 3.2)):
            if math.isfinite(half):
                axes.plot([middle - half, middle + half], [row, row], color=colour, linewidth=thickness)
        for end, arrow in ((-1, "<"), (1, ">")):
            if math.isfinite(d.half_corrected) and end * middle + 100 * d.half_corrected > limit:
                axes.plot(end * limit * 0.97, row, arrow, color=colour, markersize=4)
        hollow = "white" if math.isnan(d.half) else colour
        axes.plot(middle, row, "o", markersize=5.5, color=colour, markerfacecolor=hollow, markeredgewidth=1)
    axes.set_xlim(-limit, limit)
    power = 10.0 ** math.floor(math.log10(0.8 * limit))
    tick = max(n * power for n in (1, 2, 5) if n * power <= 0.8 * limit)
    axes.set_xticks([-tick, 0, tick], [f"{-tick:g}".replace("-", "−"), "0", f"+{tick:g}"])
    axes.grid(visible=False, axis="y")


def _limit(differences: Sequence[Difference]) -> float:
    """Points that a panel shows to each side: every mean, and intervals unless few seeds made them huge."""
    known = [d for d in differences if math.isfinite(d.half)]
    shown = max(abs(d.mean) for d in differences)
    if known:
        usual = median(abs(d.mean) + d.half for d in known)
        shown = max(shown, min(max(abs(d.mean) + d.half_corrected for d in known), 3 * usual))
    return 100 * 1.12 * shown or 1.0


@style.in_look
def curves(cells: Sequence[Cell], reference: str) -> Figure:
    """Each arm's validation accuracy over steps, the mean of its seeds ± one standard error.

    Only steps that all seeds of an arm were validated at are drawn; an arm of one seed has no band.

    Raises:
        UserError: there is no curve to draw.
    """
    seeds = len({cell.seed for cell in cells})
    arms = {arm: [cell for cell in cells if cell.arm == arm] for arm in dict.fromkeys(c.arm for c in cells)}
    drawn = {arm: points for arm, of_arm in arms.items() if (points := _mean_curve(of_arm))}
    if not drawn:
        raise UserError(
            "no arm was validated at a step that all its seeds share, so there is no curve to draw"
        )
    figure = style.new_figure(max(5.0, 1.4 + 0.2 * len(drawn)), 9.6)
    title = "Validation accuracy while training: mean of the seeds ± one standard error"
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    axes = figure.add_subplot(xlabel="training step", ylabel="validation accuracy (%)")
    looks = cycle((colour, dash) for dash in _DASHES for colour in style.PALETTE)
    ends = []
    for arm, points in drawn.items():
        first = arm == reference
        colour, dash = (style.INK, "-") if first else next(looks)
        steps, means, errors = zip(*points, strict=True)
        width, zorder, marker = 2.2 if first else 1.3, 4 if first else 3, "o" if len(steps) == 1 else ""
        axes.plot(steps, means, color=colour, linestyle=dash, linewidth=width, marker=marker, zorder=zorder)
        low, high = ([m + sign * e for m, e in zip(means, errors, strict=True)] for sign in (-1, 1))
        axes.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0, zorder=zorder - 2)
        name = style.fitted(_named(arm, len(arms[arm]), seeds), _NAME)
        ends.append((steps[-1], means[-1], name, colour))
    axes.margins(x=0)
    style.name_ends(axes, ends)
    return figure


def _mean_curve(cells: Sequence[Cell]) -> list[tuple[int, float, float]]:
    """(step, mean, standard error) in percent, at the steps that all cells have."""
    each = [dict(cell.curve) for cell in cells]
    points = []
    for step in sorted(set(each[0]).intersection(*each[1:])):
        values = [100 * one[step] for one in each]
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        points.append((step, fmean(values), error))
    return points
