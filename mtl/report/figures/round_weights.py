"""How hard-task sampling went: what each round measured, how the weights spread, who got the hard draws."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mtl.ledger.class_history import Share, WeightsAt
from mtl.ledger.store import Round
from mtl.report.figures import style
from mtl.report.figures.style import BLUE, INK, VERMILION, WIDTH

Line = list[tuple[int, float]]  # (round, value)

_LEFT, _GAP, _HEIGHT, _TITLE, _BELOW = 0.6, 0.65, 1.25, 0.4, 0.6  # inches: of small panels
_WEIGHTS = 1.8  # inches: height of the panel of weights
_POINTS = 30  # rounds at most that are marked each
_ROW, _NAME = 0.25, 2.2  # inches: of a row of draws, and of a name at most
_WIDE = 8  # from this ratio of the heaviest weight to the lightest on, the scale of weights is logarithmic
_PLURAL = {"task": "tasks", "class": "classes", "pair": "pairs"}


def boosting(rounds: Sequence[Round], weights: Sequence[WeightsAt]) -> Figure | None:
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
    of = f"(of {max((w.units for w in weights), default=0):,}{'' if even else ' kept'})"
    small = _panels(rounds, weights, f"Effective {_PLURAL.get(unit, 'units')} {of}")
    if not small:
        return None
    rows, row = (len(small) + 1) // 2, _TITLE + _HEIGHT + _BELOW
    height = rows * row + (_TITLE + _WEIGHTS + _BELOW if weights else 0)
    figure = style.new_figure(WIDTH, height)
    width = (WIDTH - _LEFT - _GAP - 0.1) / 2
    numbers = [r.round for r in rounds] + [w.round for w in weights]
    for i, (title, line, least) in enumerate(small):
        alone = i == len(small) - 1 and i % 2 == 0
        left, bottom = _LEFT + i % 2 * (width + _GAP), height - (i // 2 + 1) * row + _BELOW
        axes = style.panel(figure, left, bottom, 2 * width + _GAP if alone else width, _HEIGHT, title)
        marker = "o" if len(line) <= _POINTS else ""
        axes.plot(*zip(*line, strict=True), color=BLUE, linewidth=1.8, marker=marker, markersize=3.5)
        _rounds(axes, numbers)
        style.ticks(axes.yaxis, 4)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        _open(axes, *least)
    if weights:
        _weights(figure, weights, unit, even, numbers)
    return figure


def _panels(
    rounds: Sequence[Round], weights: Sequence[WeightsAt], effective: str
) -> list[tuple[str, Line, tuple[float, float]]]:
    """Title, line, and (least extent, value that is within) of its scale, of those that have anything."""
    most = max((w.units for w in weights), default=0)
    alpha: Line = [(r.round, r.alpha) for r in rounds if r.alpha or r.epsilon is not None]
    share = [(r.round, r.hard_share) for r in rounds] if any(r.hard_share for r in rounds) else []
    found: list[tuple[str, Line, tuple[float, float]]] = [
        ("Pool accuracy (%)", _percent([(r.round, r.accuracy) for r in rounds]), (2, math.nan)),
        ("Weighted error ε (%)", _percent([(r.round, r.epsilon) for r in rounds]), (2, math.nan)),
        ("Weight α of the round", alpha, (0.2, 0)),
        ("Share of hard episodes (%)", _percent(share), (2, 0)),
        (effective, [(w.round, w.effective) for w in weights], (1.05 * most, 0)),
    ]
    return [kind for kind in found if kind[1]]


def _percent(values: Sequence[tuple[int, float | None]]) -> Line:
    return [(number, 100 * v) for number, v in values if v is not None and math.isfinite(v)]


def _weights(
    figure: Figure, weights: Sequence[WeightsAt], unit: str, even: bool, numbers: Sequence[int]
) -> None:
    base = [1 / w.units if even else w.median for w in weights]
    heaviest, median, *quantiles = (
        [value / b for value, b in zip(values, base, strict=True)]
        for values in zip(*((w.heaviest, w.median, *w.quantiles) for w in weights), strict=True)
    )
    low, lower, upper, high = quantiles
    names = ("heaviest", "10 to 90 %", "25 to 75 %", "median")
    whole = "the even weight" if even else f"the median of the {max(w.units for w in weights):,} kept"
    axes = style.panel(
        figure, _LEFT, _BELOW, WIDTH - _LEFT - 0.4 - max(map(style.width_of, names)), _WEIGHTS,
        f"Weight of a {unit}, in multiples of {whole}",
    )  # fmt: skip
    at = [w.round for w in weights]
    marker = "o" if len(at) <= _POINTS else ""
    for below, above, shade in ((low, high, 0.2), (lower, upper, 0.35)):
        if len(at) > 1:
            axes.fill_between(at, below, above, color=BLUE, alpha=shade, linewidth=0)
        else:
            axes.plot(2 * at, below + above, color=BLUE, alpha=shade, linewidth=12, solid_capstyle="butt")
    axes.plot(at, median, color=BLUE, linewidth=1.8, marker=marker, markersize=3.5)
    axes.plot(at, heaviest, color=VERMILION, linewidth=1.8, marker=marker, markersize=3.5)
    if even:
        axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    _rounds(axes, numbers)
    if min(low) > 0 and max(heaviest) / min(low) > _WIDE:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(heaviest) / min(low) < 100 else (1,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(which="minor", length=0)
    else:
        style.ticks(axes.yaxis, 4)
        _open(axes, 0.2, 1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda times, _: f"{times:,.10g}×"))
    ends = (heaviest, high, upper, median)
    colours = (VERMILION, BLUE, BLUE, BLUE)
    style.name_ends(axes, [(at[-1], e[-1], n, c) for e, n, c in zip(ends, names, colours, strict=True)])


def _rounds(axes: Axes, numbers: Sequence[int]) -> None:
    """The same range of rounds in all panels."""
    first, last = min(numbers), max(numbers)
    margin = 0.02 * (last - first) or 1.0
    axes.set_xlim(first - margin, last + margin)
    if first == last:
        axes.set_xticks([first])
    else:
        style.ticks(axes.xaxis, 6, whole=True)
    style.axis_name(axes, "round")


def _open(axes: Axes, least: float, within: float) -> None:
    """Widens the scale of y to an extent of `least`, so that noise stays small, and to a value."""
    low, high = axes.get_ylim()
    if math.isfinite(within):
        low, high = min(low, within), max(high, within)
    more = max(0.0, least - (high - low))
    if within == 0:  # a quantity that begins at 0
        axes.set_ylim(0, 1.04 * high + more)
    else:
        axes.set_ylim(low - more / 2, high + more / 2)


def draw_shares(shares: Sequence[Share]) -> Figure:
    """A bar of hard draws for each share, in their order, with a mark where an even share would end.

    After each bar is its ratio to the even share.

    Raises:
        ValueError: no shares.
    """
    if not shares:
        raise ValueError("without hard draws there is nothing to draw")
    names = [style.fitted(share.name, _NAME) for share in shares]
    times = [f"{share.hard / share.expected:.1f}×" if share.expected else "" for share in shares]
    left, right = 0.2 + max(map(style.width_of, names)), 0.2 + max(map(style.width_of, times))
    width, height = WIDTH - left - right, _ROW * len(shares)
    figure = style.new_figure(WIDTH, height + 1.05)
    axes = style.panel(figure, left, 0.6, width, height)
    end = 1.03 * max(max(share.hard, share.expected) for share in shares)
    for row, (share, ratio) in enumerate(zip(shares, times, strict=True)):
        axes.plot([0, share.hard], [row, row], color=BLUE, linewidth=10, solid_capstyle="butt")
        axes.plot(
            [share.expected] * 2, [row - 0.45, row + 0.45], color=INK, linewidth=2, solid_capstyle="butt"
        )
        style.label(axes, 1 + 0.1 / width, row, ratio, transform=axes.get_yaxis_transform())
    style.name_rows(axes, names)
    axes.set_xlim(0, end or 1)
    style.ticks(axes.xaxis, 4, whole=True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda draws, _: f"{draws:,.0f}"))
    style.axis_name(axes, "hard draws")
    bar = {"color": BLUE, "linewidth": 10, "solid_capstyle": "butt"}
    mark = {"color": INK, "linestyle": "", "marker": "|", "markersize": 15, "markeredgewidth": 2}
    style.key(figure, 0.1, height + 0.85, [("hard draws", bar), ("an even share", mark)])
    return figure
