"""How many pictures of each class are needed: measured on a person's own pictures, as a table and a picture.

python run_meta.py learning-curve --run checkpoints/cifar_fs --support my_things
python run_meta.py learning-curve --classifier things.fewshot
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.markup import escape
from rich.table import Table

from mtl.config import Log
from mtl.data.picture_files import support_files
from mtl.errors import UserError, one_line
from mtl.own_images import classifier_file
from mtl.own_images.console import console, say, say_left_out
from mtl.own_images.embedder import Embedder
from mtl.own_images.fit import ClassifierSource
from mtl.own_images.learning_curve import (
    Forecast,
    LearningCurve,
    enough_images,
    forecast,
    forecast_sentence,
    measure_curve,
)
from mtl.own_images.published import embedder_of, with_chosen_head
from mtl.own_images.read_support import read_support, tell_nearly_same
from mtl.own_images.self_assessment import near_copy_sentences
from mtl.own_images.support import Support, find_views
from mtl.report.figures import style
from mtl.report.figures.style import BLUE, VERMILION
from mtl.runtime.figure_files import save_png
from mtl.runtime.outputs import require_free, require_not_read

_SEED = 0  # of the draws: the same pictures have the same curve
_NAMED = 10  # classes that a sentence names
_NAME = 1.2  # inches of a class name at most
_RING: dict[str, Any] = {"markersize": 6, "markerfacecolor": "white", "markeredgewidth": 1, "zorder": 4}


def learning_curve(
    source: ClassifierSource,
    out: Path = Path("learning-curve.png"),
    overwrite: bool = False,
    log: Log | None = None,
) -> None:
    """Prints accuracy by the number of pictures a class, says what twice as many would bring, and draws both.

    Args:
        source: a network with a support folder, or a file of `fit`, whose support pictures are then
            classified.
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
    curve = measure_curve(embedder.base_learner, views, _SEED, log=log or Log())
    expected = forecast(curve)
    save_png(draw_curve(curve, expected), out)
    say_left_out([*left_out, *_too_few(curve)])
    console().print(_table(curve, expected))
    say([*copies, forecast_sentence(curve, expected), f"Picture: {one_line(out)}"])


def _support(source: ClassifierSource, log: Log | None) -> tuple[Embedder, Support, Sequence[str]]:
    """The embedder, the pictures, and sentences about what was left out."""
    if source.network is not None and source.support is not None:
        read = read_support(source.support, embedder_of(source.network, source.runtime), log)
        tell_nearly_same(read.support.classes)
        embedder, support = with_chosen_head(read.embedder, read.support, log)
        return embedder, find_views(support), read.left_out
    assert source.classifier is not None
    classifier = classifier_file.load(source.classifier, source.runtime)
    classifier_file.require_not_fine_tuned(classifier, source.classifier, "they cannot show a curve")
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


@style.in_look
def draw_curve(curve: LearningCurve, expected: Forecast | None) -> Figure:
    """Accuracy on left-out images with its 95 % interval, and the recall of the class that is worst at last.

    Points are measured. The law that is fitted to them is dashed, and goes on to twice the images there are.
    """
    points, worst = curve.points(), curve.points()[-1].worst
    recalls = [100 * point.recalls[worst] for point in points]
    last = 2 * curve.most if expected else points[-1].shot
    sentence = forecast_sentence(curve, expected).replace("; ", ";\n").splitlines()
    heading = "\n".join(textwrap.fill(part, 66) for part in sentence)
    note = textwrap.fill(_note(curve, expected), 84)
    figure = style.new_figure(3.6 + 0.2 * (heading + note).count("\n"))
    figure.suptitle(heading, x=0.015, ha="left", weight="bold")
    figure.supxlabel(note, x=0.015, ha="left", fontsize=style.SMALL, color=style.QUIET)
    axes = figure.add_subplot(title="accuracy (%)", xlabel="pictures of each class", xscale="log")

    shots, low, high = zip(*((p.shot, 100 * p.low, 100 * p.high) for p in points), strict=True)
    axes.fill_between(shots, low, high, color=BLUE, alpha=0.16, linewidth=0)
    if len(points) == 1:
        axes.plot(shots * 2, (low[0], high[0]), color=BLUE, alpha=0.3, linewidth=5)
    axes.plot(shots, [100 * p.accuracy for p in points], "o-", color=BLUE, markersize=6, zorder=3)
    axes.plot(shots, recalls, "s:", color=VERMILION, markersize=5, linewidth=1.5)
    end = 100 * points[-1].accuracy
    if expected:
        tried = np.unique(np.geomspace(1, last, 80).round().astype(int)).tolist()
        law = [expected.at(shot) for shot in sorted({*tried, shots[-1]})]
        end = 100 * law[-1].accuracy
        percent = [100 * x.accuracy for x in law]
        axes.plot([x.shot for x in law], percent, color=BLUE, linestyle=(0, (4, 2)), linewidth=1.5, zorder=2)
        axes.plot(last, end, "o", color=BLUE, **_RING)
        beyond = [(x.shot, 100 * x.low, 100 * x.high) for x in law if x.shot >= shots[-1]]
        ahead, low, high = zip(*beyond, strict=True)
        axes.fill_between(ahead, low, high, color=BLUE, alpha=0.08, linewidth=0)

    axes.set(xlim=(0.9, 1.06 * last), ylim=(max(-2, 10 * np.floor(axes.dataLim.ymin / 10 - 0.2)), 102))
    named = [last]
    for shot in sorted(curve.shots, reverse=True):
        if shot < last and np.log(named[-1] / shot) >= 0.09 * np.log(last):  # else two numbers would meet
            named.append(shot)
    axes.set_xticks(sorted(named), [f"{shot:,}" for shot in sorted(named)])
    axes.minorticks_off()
    style.ticks(axes.yaxis, 6)
    of_worst = f"{recalls[-1]:.0f}  worst: {style.fitted(curve.classes[worst], _NAME)}"
    ends = [(last, end, f"{end:.0f}  all classes", BLUE), (shots[-1], recalls[-1], of_worst, VERMILION)]
    style.name_ends(axes, ends)
    return figure


def _note(curve: LearningCurve, expected: Forecast | None) -> str:
    law = " Dashed: law that fits best." if expected else ""
    few = f" {len(curve.classes)} classes, and {len(curve.too_few)} left out with too few pictures."
    return f"Points: measured on left-out pictures. Shade: 95 % interval.{law}{few if curve.too_few else ''}"
