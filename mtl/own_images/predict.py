"""What a person's new pictures are, and how sure that is.

    python run_meta.py predict --run checkpoints/cifar_fs --support my_things --query new_pictures

Adapts the network of a run to a few pictures of each class, or takes a classifier that is fitted already.
Writes every answer into a table, and the least sure ones with their pictures into a page and a contact sheet.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from mtl.config import Log
from mtl.data.own_picture import Change, change_messages
from mtl.data.prefetch import Unread
from mtl.data.prints import Prints, SeenBefore
from mtl.errors import UserError, one_line
from mtl.own_images import classifier_file as file
from mtl.own_images.answers import (
    NONE,
    Row,
    Support,
    least_sure,
    new_ones,
    percent,
    rows,
    to_csv,
    to_json,
    told,
)
from mtl.own_images.classifier import Fitted
from mtl.own_images.console import console, say_left_out, say_outlook
from mtl.own_images.fit import Source, fit_run
from mtl.own_images.predict_request import Asked, pictures_asked
from mtl.own_images.read_support import read_ahead, with_levels
from mtl.runtime.interrupt import Interrupted, StopRequest
from mtl.runtime.outputs import claimed, write_whole
from mtl.runtime.progress import Count, tell

_SHOWN = 10  # rows of the table on the terminal


def predict(asked: Asked) -> None:
    """Answers pictures, and writes a table, a page and a contact sheet.

    Interrupted, it writes what is answered by then. Files that cannot be read are named, and stop nothing.

    Raises:
        UserError: there are no pictures or none that can be read, files cannot be written or another process
            is writing them, there is no such classifier, or unlike pictures cannot be told by its support
            set.
        Interrupted: not all pictures are answered.
    """
    with claimed(asked.page, "predict"):  # the page, which a table of either kind has beside it
        _predict(asked)


def _predict(asked: Asked) -> None:
    log, say = Log(quiet=asked.quiet), console()
    pictures = pictures_asked(asked)
    source = classifier_of(asked, log)
    fitted = source.fitted
    if asked.open_set:
        require_open_set(fitted)
    say_left_out([*source.left_out, *pictures.left_out])
    outlook = say_outlook(say, fitted)
    embedder = with_levels(fitted.embedder, pictures.files)
    prepared = embedder.preparation
    seen = SeenBefore(fitted.support.prints)

    answered: list[Row] = []
    unread: list[Unread] = []
    changes: list[Change] = []
    total = len(pictures.files)
    with StopRequest() as stop:  # whatever is answered when one is made is written, whole
        with Count("pictures", total, log) as count:
            for batch in read_ahead(pictures.files, prepared):
                if batch.files:
                    answers = fitted.answer(embedder(batch.images), asked.open_set)
                    answered += rows(batch.files, answers, fitted.classes, support_of(seen, batch.images))
                unread += batch.unread
                changes += batch.changes
                count.add(len(batch.files) + len(batch.unread))
                if stop.wanted:
                    break
        left = total - len(answered) - len(unread)
        for sentence in change_messages(changes, prepared.ink, prepared.top):
            tell(sentence)
        say_left_out([one.why for one in unread])
        if not answered and not left:
            where = ", ".join(one_line(source) for source in asked.query[:_SHOWN])
            raise UserError(f"{where}: holds no picture that can be read")
        if not answered:
            raise Interrupted("predict: stopped before the first answer; nothing is written")
        if asked.out.suffix.lower() == ".json":
            write_whole(asked.out, to_json(answered, unread, fitted.classes, total))
        else:
            write_whole(asked.out, to_csv(answered, unread, asked.open_set))

        from mtl.own_images.predict_report import draw_answers  # loads what draws, when the answers are there

        not_answered = [*pictures.left_out, *(one.why for one in unread)]
        draw_answers(asked, source, outlook, least_sure(answered), total, not_answered, left > 0)
    show(say, answered, total)
    table, page, sheet = (escape(one_line(path)) for path in (asked.out, asked.page, asked.sheet))
    say.print(f"Answers: {table}, with pictures: {page}, {sheet}", highlight=False, soft_wrap=True)
    if left:
        told_of = f"{total - left:,} of {total:,} pictures"
        raise Interrupted(f"predict: stopped after {told_of}, whose answers are written")


def support_of(seen: SeenBefore, images: Tensor) -> list[Support]:
    """Of each of B images whether it is a support picture."""
    same, near = seen(Prints.of(images))
    each = zip(same.tolist(), near.tolist(), strict=True)
    return ["same" if is_same else "near" if is_near else "" for is_same, is_near in each]


def classifier_of(asked: Asked, log: Log) -> Source:
    """The classifier that is asked: fitted now, or out of a file."""
    if asked.classifier is not None:
        return Source(file.load(asked.classifier), ())
    assert asked.run is not None
    assert asked.support is not None
    return fit_run(asked.run, asked.support, log)


def require_open_set(fitted: Fitted) -> None:
    """Checks that pictures of none of the classes can be told.

    Raises:
        UserError: no class has two support pictures, or one has the name of the answer.
    """
    if fitted.open_set is None:
        raise UserError(
            "--open-set: how much alike pictures of one class are shows where it has two support pictures; "
            "here every class has one, or near copies of one, give some a second picture"
        )
    if NONE in fitted.classes:
        raise UserError(
            f"--open-set: a class is named {NONE!r}, as the answer is; give the class another name"
        )


def show(say: Console, answered: Sequence[Row], asked: int) -> None:
    """Prints how many pictures got which answer, and the least sure answers."""
    say.print(escape(told(answered, asked)), highlight=False, soft_wrap=True)
    new = new_ones(answered)
    if new:
        say.print(_table(least_sure(new)[:_SHOWN], len(new)))


def _table(shown: Sequence[Row], count: int) -> Table:
    title = f"The {len(shown)} least sure of {count:,}" if len(shown) < count else "Least sure first"
    table = Table(title=title, title_justify="left")
    table.add_column("picture", overflow="fold")
    for name in ("class", "runner-up"):
        table.add_column(name, overflow="fold")
        table.add_column("", justify="right", no_wrap=True)
    if shown[0].none is not None:
        table.add_column("none", justify="right", no_wrap=True)
    for row in shown:
        cells = [row.file, row.answer, percent(row.probability)]
        cells += [row.runner_up, percent(row.runner_up_probability)]
        cells += [percent(row.none)] if row.none is not None else []
        table.add_row(*(escape(one_line(cell)) for cell in cells))
    return table
