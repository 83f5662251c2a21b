"""One figure of each kind, with names that no program likes, and where the texts of a figure lie."""

from collections.abc import Callable
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from mtl.ledger.class_history import Share, WeightsAt
from mtl.ledger.confusions import Confusions
from mtl.ledger.regression_to_mean import compare_gains
from mtl.ledger.store import RoundRow
from mtl.ledger.training_dynamics import DataMap
from mtl.report.contents import ClassChange, RunDifference
from mtl.report.drawings import to_svg
from mtl.report.figures import changes, confusion, curves, data_map, round_weights, space, style

Array = NDArray[np.float64]

HOSTILE = [
    "$x_1$", "<script>", "a&b; \"q\" 'r'", "url(#x)", "🐈", "字", "שלום", style.INK, "%s{0}\\n", "x: y; z",
]  # fmt: skip


def _curves() -> Figure | None:
    random = np.random.default_rng(0)
    lines = [
        {"stage": "pretrain", "step": 10 * i, "loss": 2 / (i + 1), "accuracy": x, "val_5way_1shot": y}
        for i, (x, y) in enumerate(random.random((20, 2)).tolist())
    ]
    return curves.training_curves({name: lines[i:] for i, name in enumerate(HOSTILE)})


def _boosting() -> Figure | None:
    rounds = [RoundRow(i, 5 * i, "class", 40, 0.3 + 0.01 * i, 1.0 + 0.1 * i, 0.7, 0.5) for i in range(4)]
    weights = [
        WeightsAt(i, 64, 0.1 + 0.05 * i, 0.01, (0.004, 0.008, 0.02, 0.03), 40.0 - i, True) for i in range(4)
    ]
    return round_weights.boosting(rounds, weights)


def _improvement() -> Figure:
    random = np.random.default_rng(0)
    found = compare_gains("task", random.random((60, 2)), random.random((850, 2)))
    assert found is not None
    return changes.improvement(found)


def _confusion() -> Figure:
    matrix = np.random.default_rng(0).random((len(HOSTILE), len(HOSTILE)))
    matrix[matrix < 0.2] = np.nan
    return confusion.heat_map(Confusions(tuple(HOSTILE), False, matrix, 7))


def _space() -> Figure:
    random, labels = np.random.default_rng(0), np.arange(30) % len(HOSTILE)
    before, after = random.random((30, 2)), random.random((30, 2))
    return space.feature_space(space.FeatureSpace(before, after, labels, tuple(HOSTILE)))


def _changes() -> Figure:
    rows = [ClassChange("5-way", "run", name, 0.5, 0.4 + 0.02 * i, i < 5) for i, name in enumerate(HOSTILE)]
    return changes.class_changes(rows)


def _differences() -> Figure:
    rows = [
        RunDifference("5-way", name, 0.5, 0.01 * i, 0.02, None if i < 5 else "another seed")
        for i, name in enumerate(HOSTILE)
    ]
    return changes.differences(rows)


def _draw_share() -> Figure:
    return round_weights.draw_shares([Share(n, 9 - i, 20, 4.5) for i, n in enumerate(HOSTILE)])


def _data_map() -> Figure:
    random, n = np.random.default_rng(0), len(HOSTILE)
    return data_map.data_map(DataMap("class", tuple((name,) for name in HOSTILE), *random.random((3, n))))


MAKERS: dict[str, Callable[[], Figure | None]] = {
    "curves": _curves,
    "boosting": _boosting,
    "draw_share": _draw_share,
    "improvement": _improvement,
    "confusion": _confusion,
    "space": _space,
    "changes": _changes,
    "differences": _differences,
    "data_map": _data_map,
}
#: Kinds that show every name.
NAMED = [kind for kind in MAKERS if kind not in ("boosting", "improvement", "data_map")]


@cache
def made(kind: str) -> Figure:
    """Always the same one, not to be changed."""
    figure = MAKERS[kind]()
    assert figure is not None
    return figure


@cache
def svg_of(kind: str) -> str:
    return to_svg(made(kind), kind)


def draw(figure: Figure) -> None:
    with style.no_glyph_warnings():
        FigureCanvasAgg(figure).draw()


def drawn(axes: Axes, colour: str, **look: object) -> list[Array]:
    """(n, 2) of the lines and marks of a colour, and of a look as `Line2D` has it."""
    found = [line for line in axes.lines if line.get_color() == colour]
    for name, value in look.items():
        found = [line for line in found if getattr(line, f"get_{name}")() == value]
    return [np.asarray(line.get_xydata(), dtype=float) for line in found if len(line.get_xydata())]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def require_no_collision(figure: Figure) -> None:
    """No text is over another or beyond the figure."""
    draw(figure)
    hidden = set()
    for axis in (axis for axes in figure.findobj(Axes) for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        outside = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
        hidden |= {tick.label1 for tick in (*outside, *axis.get_minor_ticks())}
    for axes in figure.findobj(Axes):
        if not axes.axison:
            hidden |= {*axes.get_xticklabels(), *axes.get_yticklabels()}
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [(t.get_text(), *Text.get_window_extent(t).extents) for t in texts]  # without leads
    for i, (name, left, bottom, right, top) in enumerate(boxes):
        assert min(left, bottom) >= 0, name
        assert right <= width, name
        assert top <= height, name
        for other, l2, b2, r2, t2 in boxes[:i]:
            apart = right <= l2 or r2 <= left or top <= b2 + 1 or t2 <= bottom + 1
            assert apart, (name, other)
