"""What a person's new pictures show, and how sure that is.

    python run_meta.py predict --support my_things --query new_pictures

Adapts a published network, or that of a run, to a few pictures of each class, or takes a classifier that is
fitted already.
Writes every answer into a table, and the least certain ones with their pictures into a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from mtl.config import Log
from mtl.data.folders import shell_quoted
from mtl.data.near_copies import Prints, SeenBefore
from mtl.data.picture_files import PictureFiles, query_files, support_files
from mtl.errors import UserError, one_line
from mtl.own_images.answers import (
    NONE,
    Row,
    SupportMatch,
    answers_sentence,
    least_sure,
    new_ones,
    percent,
    rows,
    to_csv,
    to_json,
)
from mtl.own_images.classifier import FittedClassifier
from mtl.own_images.console import console, say, say_left_out, say_self_assessment
from mtl.own_images.fit import ClassifierSource, load_or_fit
from mtl.own_images.read_support import PictureReader
from mtl.runtime.outputs import claimed, require_free, require_not_read, write_whole
from mtl.runtime.process import Interrupted, StopRequest

_SHOWN = 10  # rows of the table on the terminal
_BESIDE = 60  # columns for all else beside the path of a picture
_ENDINGS = (".csv", ".json")


@dataclass(frozen=True)
class PredictRequest:
    """The options of `predict`."""

    query: Sequence[str]  # folders, patterns, files
    source: ClassifierSource
    out: Path = Path("predictions.csv")  # or .json; a page, .html, is written beside it
    open_set: bool = False  # a picture may be of none of the classes
    overwrite: bool = False
    log: Log = field(default_factory=Log)

    @property
    def page(self) -> Path:
        return self.out.with_suffix(".html")


def predict(request: PredictRequest) -> None:
    """Classifies pictures, and writes a table and a page.

    When interrupted, it writes the answers so far. Files that cannot be read are named and skipped.

    Raises:
        UserError: there are no pictures or none that can be read, files cannot be written or another process
            is writing them, there is no such classifier, or its support set does not allow `open_set`.
        Interrupted: not all pictures are classified.
    """
    with claimed(request.page, "predict"):  # the page, which a table of either kind has beside it
        _predict(request)


def _predict(request: PredictRequest) -> None:
    # everything that can be refused is refused before the work
    log = request.log
    pictures = _query_pictures(request)
    fit = load_or_fit(request.source, log)
    classifier = fit.classifier
    if request.open_set:
        _require_open_set(classifier)
    say_left_out([*fit.left_out, *pictures.left_out])
    assessment, sentences = say_self_assessment(classifier)

    answered: list[Row] = []
    total = len(pictures.files)
    reader = PictureReader(classifier.embedder, pictures.files, log)
    seen = SeenBefore(classifier.support.prints)
    with StopRequest() as stop:  # a request to stop still writes whole files of the answers so far
        for batch in reader:
            answers = classifier.answer(batch.features, request.open_set)
            matches = support_matches(seen, Prints.of(batch.images))
            answered += rows(batch.files, answers, classifier.classes, matches)
            if stop.wanted:
                break
        left = total - len(answered) - len(reader.unread)
        reader.tell_changes()
        unread = [one.why for one in reader.unread]
        say_left_out(unread)
        if not answered and not left:
            where = ", ".join(one_line(source) for source in request.query[:_SHOWN])
            raise UserError(f"{where}: holds no picture that can be read")
        if not answered:
            raise Interrupted("predict: stopped before the first answer; nothing is written")
        if request.out.suffix.lower() == ".json":
            write_whole(request.out, to_json(answered, reader.unread, classifier.classes, total))
        else:
            write_whole(request.out, to_csv(answered, reader.unread, request.open_set))

        from mtl.own_images.predict_report import AnswersToShow, write_page  # takes a while to import

        summary = answers_sentence(answered, total) + (" It was stopped before the others." if left else "")
        to_show = AnswersToShow(
            classifier=classifier,
            source=str(request.source),
            rows=least_sure(answered),
            read={**fit.shown, **reader.shown},
            summary=summary,
            open_set=request.open_set,
            assessment=sentences,
            confused=assessment.data_advice,
            learns_by=[] if classifier.embedder.origin.fine_tuned else _learns_by(request.source),
            not_learned=fit.left_out,
            not_answered=[*pictures.left_out, *unread],
        )
        write_page(to_show, request.out, request.page)
    _show(answered, total)
    say([f"Answers: {one_line(request.out)}, with pictures: {one_line(request.page)}"])
    if left:
        raise Interrupted(
            f"predict: stopped after {total - left:,} of {total:,} pictures, whose answers are written"
        )


def _learns_by(source: ClassifierSource) -> list[str]:
    """The commands that fit the classifier to corrections of its answers."""
    found, commands = source.classifier, []
    if source.network is not None and source.support is not None:
        found = Path(f"{source.support.stem}.fewshot")
        if isinstance(source.network, Path):
            network = f"--run {shell_quoted(source.network)}"
        else:
            network, weights = f"--backbone {source.network.name}", source.network.weights
            if weights not in (None, "DEFAULT"):
                network += f" --weights {shell_quoted(Path(str(weights)))}"
        of = f"{network} --support {shell_quoted(source.support)} --out {shell_quoted(found)}"
        commands = [f"python run_meta.py fit {of}"]
    assert found is not None
    return [*commands, f"python run_meta.py fit --classifier {shell_quoted(found)} --fix corrections.csv"]


def _query_pictures(request: PredictRequest) -> PictureFiles:
    """The pictures to classify, once it is certain that the results can be written."""
    require_free(request.out, _ENDINGS, request.overwrite)
    require_free(request.page, (), request.overwrite)
    pictures = query_files(request.query)
    support = request.source.support
    known = {} if support is None else support_files(support).files
    read = [*pictures.files, *(file for files in known.values() for file in files)]
    require_not_read((request.out, request.page), read)
    return pictures


def support_matches(seen: SeenBefore, prints: Prints) -> list[SupportMatch]:
    """Which of B pictures are support pictures."""
    same, near = seen(prints)
    each = zip(same.tolist(), near.tolist(), strict=True)
    return ["same" if is_same else "near" if is_near else "" for is_same, is_near in each]


def _require_open_set(classifier: FittedClassifier) -> None:
    if classifier.open_set is None:
        raise UserError(
            "--open-set: how similar pictures of one class are shows where it has two support pictures; here "
            "every class has one, or near copies of one, give some a second picture"
        )
    if NONE in classifier.classes:
        raise UserError(
            f"--open-set: a class is named {NONE!r}, as the answer is; give the class another name"
        )


def _show(answered: Sequence[Row], total: int) -> None:
    """Prints how many pictures were classified as what, and the least certain ones."""
    say([answers_sentence(answered, total)])
    new = new_ones(answered)
    if not new:
        return
    shown = least_sure(new)[:_SHOWN]
    title = (
        f"The {len(shown)} least certain of {len(new):,}" if len(shown) < len(new) else "Least certain first"
    )
    table = Table(title=title, title_justify="left")
    for name in ("class", "runner-up"):
        table.add_column(name, overflow="fold")
        table.add_column("", justify="right", no_wrap=True)
    if shown[0].none is not None:
        table.add_column("none", justify="right", no_wrap=True)
    table.add_column("picture", no_wrap=True)
    for row in shown:
        cells = [row.answer, percent(row.probability), row.runner_up, percent(row.runner_up_probability)]
        cells += [percent(row.none)] if row.none is not None else []
        table.add_row(*(escape(one_line(cell)) for cell in [*cells, row.file]))
    out = console()  # as wide as it takes: a path in two pieces cannot be copied
    out.width = max(out.width, _BESIDE + max(cell_len(one_line(row.file)) for row in shown))
    out.print(table)
