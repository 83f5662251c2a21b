"""How many pictures of each class are needed: measured on a person's own pictures, as a table and a picture.

python run_meta.py learning-curve --run checkpoints/cifar_fs --support my_things
python run_meta.py learning-curve --classifier things.fewshot
"""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from mtl.config import Log, Runtime
from mtl.data.picture_files import support_files
from mtl.errors import UserError, one_line
from mtl.own_images import classifier_file as file
from mtl.own_images.console import console, say_left_out
from mtl.own_images.embedder import Embedder, embedder_of_run
from mtl.own_images.forecast import Expected, Forecast, forecast, told
from mtl.own_images.learning_curve import LearningCurve, enough_images
from mtl.own_images.learning_curve import learning_curve as measure
from mtl.own_images.near_views import find_views
from mtl.own_images.read_support import read_support, require_ways
from mtl.own_images.self_assessment import near_copies_told
from mtl.own_images.support import Support
from mtl.runtime.figure_files import save_png
from mtl.runtime.outputs import require_free, require_not_read

_SEED = 0  # of the draws: the same pictures have the same curve
_NAMED = 10  # classes that a sentence names


def learning_curve(
    out: Path = Path("learning-curve.png"),
    run: Path | None = None,
    support: Path | None = None,
    classifier: Path | None = None,
    overwrite: bool = False,
    log: Log | None = None,
) -> None:
    """Prints accuracy by the number of pictures a class, says what twice as many would bring, and draws both.

    Args:
        out: of the picture, a .png.
        run: whose network answers; goes with `support`.
        support: a folder `<class>/*`.
        classifier: a file of `fit`, instead of these two; its own pictures are asked.
        overwrite: whether `out` may be there already.
        log: whether and how progress is shown.

    Raises:
        UserError: fewer than two classes have two pictures, the base learner serves another number of
            classes, what is given cannot be read, or the picture cannot be written.
        ValueError: neither a run and a support folder nor a classifier is given.
    """
    require_free(out, (".png",), overwrite)
    if support is not None:
        require_not_read([out], [file for files in support_files(support).files.values() for file in files])
    embedder, every, where, left_out = _source(run, support, classifier, log)
    pictures = every.by_view()
    copies = near_copies_told(every)
    _require_enough(pictures, where, copies)
    require_ways(embedder, int(enough_images(pictures.counts()).sum()))
    curve = measure(embedder.base_learner, pictures, _SEED)
    expected = forecast(curve)

    from mtl.own_images.learning_curve_figure import learning  # loads what draws

    save_png(learning(curve, expected), out, facecolor="white")
    say = console()
    say_left_out([*left_out, *_too_few(curve)])
    say.print(_table(curve, expected))
    for line in (*copies, told(curve, expected), f"Picture: {one_line(out)}"):
        say.print(escape(line), highlight=False, soft_wrap=True)


def _source(
    run: Path | None, support: Path | None, classifier: Path | None, log: Log | None
) -> tuple[Embedder, Support, Path, Sequence[str]]:
    """What answers, the pictures, where they come from, and what is no part of them."""
    if classifier is not None:
        fitted = file.load(classifier)
        return fitted.embedder, fitted.support, classifier, ()
    if run is None or support is None:
        raise ValueError("a run and a support folder are needed, or a classifier")
    embedder = embedder_of_run(run, Runtime())
    read = read_support(support, embedder, log)
    return read.embedder, find_views(read.support), support, read.left_out


def _require_enough(pictures: Support, where: Path, copies: Sequence[str]) -> None:
    counts = pictures.counts().tolist()
    if sum(count > 1 for count in counts) < 2:
        each = [f"{one_line(n)} {count}" for n, count in zip(pictures.classes, counts, strict=True)]
        more = ", ..." if len(each) > _NAMED else ""
        raise UserError(
            f"{one_line(where)}: a learning curve needs two classes of two pictures or more, since each "
            f"picture is asked of the others; there are {', '.join(each[:_NAMED])}{more}"
            + "".join(f"\n  {sentence}" for sentence in copies)
        )


def _too_few(curve: LearningCurve) -> list[str]:
    return [
        f"{one_line(name)}: has {count} picture{'s' if count > 1 else ''}, too few for a curve of classes "
        f"with {curve.most} or more"
        for name, count in curve.too_few
    ]


def _table(curve: LearningCurve, expected: Forecast | None) -> Table:
    title = f"Right answers to left-out pictures, {len(curve.classes)} classes"
    table = Table(title=title, title_justify="left")
    for column in ("pictures a class", "right", "95 % interval", "worst class", "its share"):
        table.add_column(column, justify="left" if column == "worst class" else "right")
    for point in curve.points():
        worst = one_line(curve.classes[point.worst])
        cells = _cells(point.accuracy, point.low, point.high)
        table.add_row(f"{point.shot:,}", *cells, escape(worst), _percent(point.recalls[point.worst]))
    if expected:
        table.add_section()
        for shot in (curve.most, 2 * curve.most):
            table.add_row(*_expected(expected.at(shot)))
        table.caption, table.caption_justify = "~: expected of the law that fits these points", "left"
    return table


def _expected(found: Expected) -> tuple[str, ...]:
    return f"{found.shot:,}", *(f"~ {cell}" for cell in _cells(found.accuracy, found.low, found.high)), "", ""


def _cells(accuracy: float, low: float, high: float) -> tuple[str, str]:
    return _percent(accuracy), f"{100 * low:.0f} to {100 * high:.0f} %"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
