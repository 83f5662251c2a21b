"""How many pictures of each class are needed: measured on a person's own pictures, as a table and a picture.

python run_meta.py learning-curve --run checkpoints/cifar_fs --support my_things
python run_meta.py learning-curve --classifier things.fewshot
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from rich.markup import escape
from rich.table import Table

from mtl.config import Log, Runtime
from mtl.data.picture_files import support_files
from mtl.errors import UserError, one_line
from mtl.own_images import classifier_file
from mtl.own_images.console import console, say, say_left_out
from mtl.own_images.embedder import Embedder, embedder_of_run
from mtl.own_images.fit import ClassifierSource
from mtl.own_images.learning_curve import (
    Forecast,
    LearningCurve,
    Point,
    enough_images,
    forecast,
    forecast_sentence,
    measure_curve,
)
from mtl.own_images.read_support import read_support, tell_nearly_same
from mtl.own_images.self_assessment import near_copy_sentences
from mtl.own_images.support import Support, find_views
from mtl.report.figures import style
from mtl.runtime.figure_files import save_png
from mtl.runtime.outputs import require_free, require_not_read

_SEED = 0  # of the draws: the same pictures have the same curve
_NAMED = 10  # classes that a sentence names

_LEFT, _HEIGHT = 0.6, 2.9  # inches: of the panel
_NAME = 1.2  # inches of a class name at most
_LINE = 0.22  # inches from a line of text to the next
_BOLD = 1.15  # times as wide as plain letters
_TEN = 10  # accuracies are drawn from a multiple of 10 % on
_MEASURED: dict[str, Any] = {"color": style.BLUE, "markersize": 6, "linewidth": 2, "zorder": 3}
_DASHED: dict[str, Any] = {"color": style.BLUE, "linestyle": (0, (4, 2)), "zorder": 2}
_RING: dict[str, Any] = {"color": style.BLUE, "markersize": 6, "markerfacecolor": "white", "zorder": 4}
_WORST: dict[str, Any] = {"color": style.VERMILION, "markersize": 5, "linewidth": 1.5}


def learning_curve(
    source: ClassifierSource,
    out: Path = Path("learning-curve.png"),
    overwrite: bool = False,
    log: Log | None = None,
) -> None:
    """Prints accuracy by the number of pictures a class, says what twice as many would bring, and draws both.

    Args:
        source: a run with a support folder, or a file of `fit`, whose support pictures are then classified.
        out: the picture, a .png.
        overwrite: True if `out` may exist.
        log: how progress is shown, if at all.

    Raises:
        UserError: fewer than two classes have two pictures, the base learner serves another number of
            classes, what is given cannot be read, or the picture cannot be written.
    """
    require_free(out, (".png",), overwrite)
    if source.support is not None:
        pictures = support_files(source.support).files.values()
        require_not_read([out], [file for files in pictures for file in files])
    embedder, support, left_out = _support(source, log)
    views, copies = support.by_view(), near_copy_sentences(support)
    _require_enough(views, source.classifier or source.support, copies)
    embedder.require_way(int(enough_images(views.counts()).sum()))
    curve = measure_curve(embedder.base_learner, views, _SEED)
    expected = forecast(curve)
    save_png(draw_curve(curve, expected), out, facecolor="white")
    say_left_out([*left_out, *_too_few(curve)])
    console().print(_table(curve, expected))
    say([*copies, forecast_sentence(curve, expected), f"Picture: {one_line(out)}"])


def _support(source: ClassifierSource, log: Log | None) -> tuple[Embedder, Support, Sequence[str]]:
    """The embedder, the pictures, and sentences about what was left out."""
    if source.run is not None and source.support is not None:
        read = read_support(source.support, embedder_of_run(source.run, Runtime()), log)
        tell_nearly_same(read.support.classes)
        return read.embedder, find_views(read.support), read.left_out
    assert source.classifier is not None
    classifier = classifier_file.load(source.classifier)
    return classifier.embedder, classifier.support, ()


def _require_enough(pictures: Support, where: Path | None, copies: Sequence[str]) -> None:
    counts = pictures.counts().tolist()
    if sum(count > 1 for count in counts) < 2:
        each = [f"{one_line(n)} {count}" for n, count in zip(pictures.classes, counts, strict=True)]
        more = ", ..." if len(each) > _NAMED else ""
        raise UserError(
            f"{one_line(where)}: a learning curve needs two classes of two pictures or more, since each "
            f"picture is classified by the others; there are {', '.join(each[:_NAMED])}{more}"
            + "".join(f"\n  {sentence}" for sentence in copies)
        )


def _too_few(curve: LearningCurve) -> list[str]:
    return [
        f"{one_line(name)}: has {count} picture{'s' if count > 1 else ''}, too few for a curve of classes "
        f"with {curve.most} or more"
        for name, count in curve.too_few
    ]


def _table(curve: LearningCurve, expected: Forecast | None) -> Table:
    title = f"Accuracy on left-out pictures, {len(curve.classes)} classes"
    table = Table(title=title, title_justify="left")
    for column in ("pictures a class", "right", "95 % interval", "worst class", "its share"):
        table.add_column(column, justify="left" if column == "worst class" else "right")
    for point in curve.points():
        interval = f"{100 * point.low:.0f} to {100 * point.high:.0f} %"
        worst, recall = one_line(curve.classes[point.worst]), point.recalls[point.worst]
        cells = f"{100 * point.accuracy:.0f} %", interval, escape(worst), f"{100 * recall:.0f} %"
        table.add_row(f"{point.shot:,}", *cells)
    if expected:
        table.add_section()
        for law in (expected.at(curve.most), expected.at(2 * curve.most)):
            interval = f"~ {100 * law.low:.0f} to {100 * law.high:.0f} %"
            table.add_row(f"{law.shot:,}", f"~ {100 * law.accuracy:.0f} %", interval, "", "")
        table.caption, table.caption_justify = "~: expected of the law that fits these points", "left"
    return table


def draw_curve(curve: LearningCurve, expected: Forecast | None) -> Figure:
    """Accuracy on left-out images with its 95 % interval, and the recall of the class that is worst at last.

    Points are measured. The law that is fitted to them is dashed, and goes on to twice the images there are.
    """
    points, worst = curve.points(), curve.points()[-1].worst
    recalls = [100 * point.recalls[worst] for point in points]
    last = 2 * curve.most if expected else points[-1].shot
    end = 100 * (expected.at(last).accuracy if expected else points[-1].accuracy)
    heading = list(_wrapped(forecast_sentence(curve, expected), (style.WIDTH - 0.2) / _BOLD, style.SIZE))
    notes = list(_wrapped(_note(curve, expected), style.WIDTH - 0.2, style.SMALL))
    of_worst = f"{recalls[-1]:.0f}  worst: {style.fitted(curve.classes[worst], _NAME)}"
    names = f"{end:.0f}  all classes", of_worst
    bottom = 0.65 + _LINE * len(notes)
    width = style.WIDTH - _LEFT - 0.45 - max(map(style.width_of, names))
    figure = style.new_figure(style.WIDTH, bottom + _HEIGHT + 0.5 + _LINE * len(heading))
    axes = style.panel(figure, _LEFT, bottom, width, _HEIGHT, "accuracy (%)")

    _draw_points(axes, points)
    if expected:
        _draw_law(axes, expected, points[-1].shot, last)
    axes.plot(curve.shots, recalls, "s:", **_WORST)
    _scale(axes, last)
    _name_shots(axes, sorted({*curve.shots, last}), width)
    ends = [(last, end, names[0], style.BLUE), (points[-1].shot, recalls[-1], names[1], style.VERMILION)]
    style.name_ends(axes, ends)
    _write(figure, heading, bottom + _HEIGHT + 0.42, style.SIZE, color=style.INK, weight="bold")
    _write(figure, notes, 0.12, style.SMALL, color=style.QUIET)
    return figure


def _draw_points(axes: Axes, points: Sequence[Point]) -> None:
    shots, low, high = zip(*((p.shot, 100 * p.low, 100 * p.high) for p in points), strict=True)
    axes.fill_between(shots, low, high, color=style.BLUE, alpha=0.16, linewidth=0)
    if len(points) == 1:
        axes.plot(shots * 2, (low[0], high[0]), color=style.BLUE, alpha=0.3, linewidth=5)
    axes.plot(shots, [100 * p.accuracy for p in points], "o-", **_MEASURED)


def _draw_law(axes: Axes, law: Forecast, measured: int, last: int) -> None:
    """The law: faint where there are measurements too, then with its interval and a ring at its end."""
    faint: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.7}
    full: dict[str, Any] = {"linewidth": 2}
    for first, end, look in ((1, measured, faint), (measured, last, full)):
        shots = np.unique(np.geomspace(first, end, 40).round().astype(int)).tolist()
        expected = [law.at(shot) for shot in shots]
        axes.plot(shots, [100 * e.accuracy for e in expected], **_DASHED, **look)
    low, high = [100 * e.low for e in expected], [100 * e.high for e in expected]
    axes.fill_between(shots, low, high, color=style.BLUE, alpha=0.08, linewidth=0)
    axes.plot(last, 100 * expected[-1].accuracy, "o", **_RING)


def _scale(axes: Axes, last: int) -> None:
    """Logarithmic in the images, since the first ones do most; accuracies from a round number to 100."""
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.9, 1.06 * last)
    lowest = float(axes.dataLim.ymin)
    axes.set_ylim(max(-2.0, _TEN * np.floor(lowest / _TEN - 0.2)), 102)
    style.ticks(axes.yaxis, 6)
    style.axis_name(axes, "pictures of each class")


def _name_shots(axes: Axes, shots: Sequence[int], width: float) -> None:
    """Ticks at numbers of images: the last two, and those of the others that have room."""
    low, high = np.log(axes.get_xlim())
    at = {shot: width * (np.log(shot) - low) / (high - low) for shot in shots}  # inches
    half = {shot: style.width_of(f"{shot:,}", style.SMALL) / 2 + 0.04 for shot in shots}
    named: list[int] = []
    for shot in [*shots[:-3:-1], *shots[:-2]]:
        if all(abs(at[shot] - at[other]) >= half[shot] + half[other] for other in named):
            named.append(shot)
    axes.set_xticks(sorted(named), [f"{shot:,}" for shot in sorted(named)])


def _note(curve: LearningCurve, expected: Forecast | None) -> str:
    parts = ["Points: measured on left-out pictures. Shade: 95 % interval."]
    if expected:
        parts.append("Dashed: law that fits best.")
    if curve.too_few:
        parts.append(
            f"{len(curve.classes)} classes, and {len(curve.too_few)} left out with too few pictures."
        )
    return " ".join(parts)


def _wrapped(words: str, inches: float, size: float) -> Iterator[str]:
    """Lines at most `inches` wide; a line ends after a semicolon."""
    line = ""
    for word in words.split(" "):
        if line and (line.endswith(";") or style.width_of(f"{line} {word}", size) > inches):
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


def _write(figure: Figure, lines: Sequence[str], bottom: float, size: float, **options: Any) -> None:
    """Lines of text from the left edge, the last one `bottom` inches up."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1), facecolor="none", zorder=3)
    axes.set(xlim=(0, across), ylim=(0, up))
    axes.axis("off")
    for above, line in enumerate(reversed(lines)):
        style.label(axes, 0.1, bottom + _LINE * above, line, fontsize=size, va="bottom", **options)
