"""Where the hard episodes went: what each class or group got, beside an even share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mtl.report.figures.style import (
    BLUE,
    INK,
    WIDTH,
    axis_name,
    fitted,
    key,
    label,
    name_rows,
    new_figure,
    panel,
    ticks,
    width_of,
)

if TYPE_CHECKING:
    from mtl.ledger.class_history import Share

_ROW, _NAME = 0.25, 2.2  # inches: of a row, and of a name at most


def extra_draws(shares: Sequence["Share"]) -> Figure:
    """A bar of hard draws for each share, in their order, with a mark where an even share would end.

    Behind each bar stands how many times the even share it is.

    Raises:
        ValueError: no shares.
    """
    if not shares:
        raise ValueError("without hard draws there is nothing to draw")
    names = [fitted(share.name, _NAME) for share in shares]
    times = [f"{share.hard / share.expected:.1f}×" if share.expected else "" for share in shares]
    left, right, height = (
        0.2 + max(map(width_of, names)),
        0.2 + max(map(width_of, times)),
        _ROW * len(shares),
    )
    figure = new_figure(WIDTH, height + 1.05)
    axes = panel(figure, left, 0.6, WIDTH - left - right, height)
    end = 1.03 * max(max(share.hard, share.expected) for share in shares)
    for row, (share, ratio) in enumerate(zip(shares, times, strict=True)):
        axes.plot([0, share.hard], [row, row], color=BLUE, linewidth=10, solid_capstyle="butt")
        axes.plot(
            [share.expected] * 2, [row - 0.45, row + 0.45], color=INK, linewidth=2, solid_capstyle="butt"
        )
        label(axes, 1 + 0.1 / (WIDTH - left - right), row, ratio, transform=axes.get_yaxis_transform())
    name_rows(axes, names)
    axes.set_xlim(0, end or 1)
    ticks(axes.xaxis, 4, whole=True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda draws, _: f"{draws:,.0f}"))
    axis_name(axes, "hard draws")
    bar = {"color": BLUE, "linewidth": 10, "solid_capstyle": "butt"}
    mark = {"color": INK, "linestyle": "", "marker": "|", "markersize": 15, "markeredgewidth": 2}
    key(figure, 0.1, height + 0.85, [("hard draws", bar), ("an even share", mark)])
    return figure
