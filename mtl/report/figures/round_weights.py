"""How hard-task sampling went: what each round measured, how the weights spread, who got the hard draws."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mtl.ledger.class_history import Share, WeightsAt
from mtl.ledger.store import RoundRow
from mtl.report.figures import style
from mtl.report.figures.style import BLUE, INK, VERMILION

Line = list[tuple[int, float]]  # (round, value)

_POINTS = 30  # rounds at most that are marked each
_NAME = 2.2  # inches of a name at most
_WIDE = 8  # from this ratio of the heaviest weight to the lightest on, the scale of weights is logarithmic
_PLURAL = {"task": "tasks", "class": "classes", "pair": "pairs"}


@style.in_look
def boosting(rounds: Sequence[RoundRow], weights: Sequence[WeightsAt]) -> Figure | None:
    """Small panels of what each round measured, and below them the weights; None if nothing is there.

    A quantity that no round has, and a share of hard episodes that is always 0, have no panel. Weights are
    shown relative to the even weight 1/units where the ledger has every unit's weight, and otherwise to the
    median of those it has.

    Args:
        rounds: of one phase, in order.
        weights: of the same phase, in order.
    """
    unit = rounds[0].unit if rounds and rounds[0].unit in _PLURAL else "unit"
    even = all(w.kept_all for w in weights)
    weights = [w for w in weights if even or w.median > 0]  # else they have no scale
    units = max((w.units for w in weights), default=0)
    effective = f"Effective {_PLURAL.get(unit, 'units')} (of {units:,}{'' if even else ' kept'})"
    hard = any(r.hard_share for r in rounds)
    quantities: dict[str, tuple[Line, float, bool]] = {  # line, least extent of its scale, whether from 0 on
        "Pool accuracy (%)": (_percent([(r.round, r.accuracy) for r in rounds]), 2, False),
        "Weighted error ε (%)": (_percent([(r.round, r.epsilon) for r in rounds]), 2, False),
        "Weight α of the round": (
            [(r.round, r.alpha) for r in rounds if r.alpha or r.epsilon is not None], 0.2, True,
        ),
        "Share of hard episodes (%)": (_percent([(r.round, r.hard_share) for r in rounds if hard]), 2, True),
        effective: ([(w.round, w.effective) for w in weights], 1.05 * units, True),
    }  # fmt: skip
    small = [(title, *drawn) for title, drawn in quantities.items() if drawn[0]]
    if not small:
        return None
    numbers = [r.round for r in rounds] + [w.round for w in weights]
    rows = (len(small) + 1) // 2
    heights = [2.1 * rows, 2.7] if weights else [2.1 * rows]
    figure = style.new_figure(sum(heights))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    grid = parts[0].add_gridspec(rows, 2)
    for i, (title, line, least, from_zero) in enumerate(small):
        alone = i == len(small) - 1 and i % 2 == 0
        axes = parts[0].add_subplot(grid[i // 2, :] if alone else grid[i // 2, i % 2], title=title)
        axes.plot(*zip(*line, strict=True), color=BLUE, marker="o" if len(line) <= _POINTS else "")
        _rounds(axes, numbers)
        style.ticks(axes.yaxis, 4)
        axes.yaxis.set_major_formatter("{x:,.6g}")
        values = [value for _, value in line]
        if from_zero:
            axes.set_ylim(0, max(least, 1.05 * max(values)))
        else:
            _widen(axes, values, least)
    if weights:
        whole = "the even weight" if even else f"the median of the {units:,} kept"
        axes = parts[1].add_subplot(title=f"Weight of a {unit}, in multiples of {whole}")
        _rounds(axes, numbers)
        _weights(axes, weights, even)
    return figure


def _percent(values: Sequence[tuple[int, float | None]]) -> Line:
    return [(number, 100 * v) for number, v in values if v is not None and math.isfinite(v)]


def _weights(axes: Axes, weights: Sequence[WeightsAt], even: bool) -> None:
    relative = [
        [value * w.units if even else value / w.median for value in (w.heaviest, w.median, *w.quantiles)]
        for w in weights
    ]
    at, (heaviest, median, low, lower, upper, high) = [w.round for w in weights], zip(*relative, strict=True)
    for below, above, shade in ((low, high, 0.2), (lower, upper, 0.35)):
        if len(at) > 1:
            axes.fill_between(at, below, above, color=BLUE, alpha=shade, linewidth=0)
        else:
            axes.plot(2 * at, below + above, color=BLUE, alpha=shade, linewidth=12)
    for line, colour in ((median, BLUE), (heaviest, VERMILION)):
        axes.plot(at, line, color=colour, marker="o" if len(at) <= _POINTS else "")
    if even:
        axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    if min(low) > 0 and max(heaviest) / min(low) > _WIDE:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(heaviest) / min(low) < 100 else (1,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        style.ticks(axes.yaxis, 4)
        _widen(axes, [1, *low, *heaviest], 0.2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda times, _: f"{times:,.10g}×"))
    ends = [("heaviest", heaviest, VERMILION), ("10 to 90 %", high, BLUE)]
    ends += [("25 to 75 %", upper, BLUE), ("median", median, BLUE)]
    style.name_ends(axes, [(at[-1], line[-1], name, colour) for name, line, colour in ends])


def _rounds(axes: Axes, numbers: Sequence[int]) -> None:
    """The same range of rounds in all panels."""
    first, last = min(numbers), max(numbers)
    margin = 0.02 * (last - first) or 1.0
    axes.set(xlim=(first - margin, last + margin), xlabel="round")
    if first == last:
        axes.set_xticks([first])
    else:
        style.ticks(axes.xaxis, 6, whole=True)


def _widen(axes: Axes, values: Sequence[float], least: float) -> None:
    """Scales y to the values, but to no less than an extent of `least`, so that noise stays small."""
    middle, half = (min(values) + max(values)) / 2, max(least, 1.1 * (max(values) - min(values))) / 2
    axes.set_ylim(middle - half, middle + half)


@style.in_look
def draw_shares(shares: Sequence[Share]) -> Figure:
    """A bar of hard draws for each share, in their order, with a mark where an even share would end.

    After each bar is its ratio to the even share.

    Raises:
        ValueError: no shares.
    """
    if not shares:
        raise ValueError("without hard draws there is nothing to draw")
    figure, places = style.new_figure(0.25 * len(shares) + 1), range(len(shares))
    axes = figure.add_subplot(xlabel="hard draws")
    axes.barh(places, [share.hard for share in shares], 0.6, color=BLUE)
    tops, ends = [at - 0.45 for at in places], [at + 0.45 for at in places]
    axes.vlines([share.expected for share in shares], tops, ends, color=INK, linewidth=2)
    ratios = [f"{share.hard / share.expected:.1f}×" if share.expected else "" for share in shares]
    style.rows(axes, [style.fitted(share.name, _NAME) for share in shares], ratios)
    axes.set_xlim(0, 1.03 * max(max(share.hard, share.expected) for share in shares) or 1)
    style.ticks(axes.xaxis, 4, whole=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    mark = {"color": INK, "linestyle": "", "marker": "|", "markersize": 15, "markeredgewidth": 2}
    style.key(figure, {"hard draws": {"color": BLUE, "linewidth": 10}, "an even share": mark})
    return figure
