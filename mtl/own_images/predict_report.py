"""The page of answers: the least certain ones with their pictures, and what each class was learned from."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mtl.data.near_copies import Prints
from mtl.data.prefetch import decode_ahead
from mtl.errors import one_line
from mtl.own_images.answers import NONE, UNSURE, Row, new_ones, percent
from mtl.own_images.classifier import FittedClassifier
from mtl.own_images.self_assessment import DataAdvice
from mtl.report.cards import thumbnail
from mtl.report.contents import Thumbnail
from mtl.report.layout import lay_out, printable, without_numbers
from mtl.runtime.outputs import write_whole

MOST_BYTES = 3_000_000
_CARDS = 200
_SIDE, _OF_SUPPORT = 160, 72  # pixels: of an answer, of a support picture
_PICTURES, _OF_A_CLASS = 120, 6  # support pictures: in all, and of a class
_PAIRS = 8  # confused pairs


@dataclass(frozen=True)
class AnswerCard:
    """The answer to one picture."""

    row: Row
    picture: Thumbnail | None  # None: it can no longer be read
    path: str = ""  # absolute, for the list of corrections; empty: it cannot be corrected


@dataclass(frozen=True)
class ClassCard:
    """One class of the support set, or the answer that is none of them."""

    name: str
    learned_from: int  # support pictures; 0: it is none of the classes
    pictures: Sequence[Thumbnail]  # some of them
    answered: int  # pictures that were taken for it
    is_label: bool = True  # a list of corrections can name it


@dataclass(frozen=True)
class ConfusedClasses:
    """Two classes whose support pictures were taken for each other."""

    first: ClassCard
    second: ClassCard
    confusion: float  # mean probability that pictures of either got for the other


@dataclass(frozen=True)
class AnswersPage:
    """What the template shows."""

    title: str
    unsure: int  # new pictures whose answer is less probable than UNSURE
    summary: str  # how many pictures got which answer, in a sentence or two
    facts: Sequence[tuple[str, str]]  # a word and its value
    outlook: Sequence[str]  # how well it will do, a sentence each
    confused: Sequence[ConfusedClasses]  # the most confused first
    calibration: str  # how far probabilities can be trusted, in a sentence; may be empty
    cards: Sequence[AnswerCard]  # least certain first
    answered: int  # of which the cards show the first
    table: str  # the file that has them all
    classes: Sequence[ClassCard]
    learns_by: Sequence[str]  # commands that fit the classifier to the saved corrections; none: fine-tuned
    not_learned: Sequence[str]  # what was no part of the support set and why, a sentence each
    not_answered: Sequence[str]  # files that got no answer and why, a sentence each


def render(page: AnswersPage) -> str:
    """The page, to be written as UTF-8."""
    shown = Counter(card.row.answer for card in page.cards)
    helpers = {
        "shown_of": lambda name: shown[name],
        "class_place": _numbers(one.name for one in page.classes),
        "file_place": _numbers(sorted(card.row.file for card in page.cards)),
    }
    return lay_out(
        "answers.html",
        helpers=helpers,
        filters={"share": lambda share: percent(share).replace(" ", "\N{NO-BREAK SPACE}")},
        styles=("style.css", "answers.css"),
        scripts=("script.js", "answers.js"),
        page=page,
        limit=UNSURE,
        display=without_numbers([one.name for one in page.classes if one.learned_from]),
    )


def _numbers(names: Iterable[str]) -> Callable[[str], int]:
    """A number for each name, so that no name becomes part of an attribute."""
    return {name: place for place, name in enumerate(dict.fromkeys(names), 1)}.__getitem__


@dataclass(frozen=True, eq=False)
class AnswersToShow:
    """Answers, and what they come from."""

    classifier: FittedClassifier
    source: str  # where the classifier comes from
    rows: Sequence[Row]  # all answers, least certain first
    read: Mapping[Path, Tensor]  # pictures in colour that were just read, support pictures among them
    summary: str  # how many there are of which class
    open_set: bool
    assessment: Sequence[str]  # how well the classifier will do, a sentence each
    confused: Sequence[DataAdvice]  # the most confused classes first
    learns_by: Sequence[str]  # commands
    not_learned: Sequence[str]
    not_answered: Sequence[str]


def write_page(answers: AnswersToShow, table: Path, path: Path) -> None:
    """Writes the page with as many answers, the least certain first, as 3 MB have room for."""
    shown = answers.rows[:_CARDS]
    pictures = _read([Path(row.file) for row in shown], answers.read)
    support = _support_pictures(answers)
    cards = [_card(row, pictures.get(Path(row.file))) for row in shown]
    while True:
        page = render(_page(answers, table, cards, support)).encode()
        if len(page) <= MOST_BYTES or len(cards) <= 1:
            break
        cards = cards[: len(cards) // 2]
    write_whole(path, page)


def _read(files: Sequence[Path], known: Mapping[Path, Tensor]) -> dict[Path, Tensor]:
    """Pictures in colour, for people, read again unless they are `known`; without those that are gone."""
    batches = decode_ahead([file for file in files if file not in known], _SIDE, grayscale=False)
    read = {file: image for batch in batches for file, image in zip(batch.files, batch.images, strict=True)}
    return read | {file: known[file] for file in files if file in known}


def _support_pictures(answers: AnswersToShow) -> dict[str, list[Thumbnail]]:
    """Some pictures of each class, confused ones first, from the files it was fitted to if unchanged."""
    classifier, support = answers.classifier, answers.classifier.support
    most = max(1, min(_OF_A_CLASS, _PICTURES // support.way))
    confused = dict.fromkeys(k for pair in answers.confused[:_PAIRS] for k in (pair.first, pair.second))
    order = [*confused, *(k for k in range(support.way) if k not in confused)]
    of_class = [(support.labels == k).nonzero().flatten().tolist() for k in order]
    rows = [
        row
        for k, found in zip(order, of_class, strict=True)
        for row in found[: _OF_A_CLASS if k in confused else most]
    ]
    row_of = {Path(support.files[row]): row for row in rows[:_PICTURES] if support.files[row]}
    unchanged = [file for file in row_of if file in answers.read]
    others = [file for file in row_of if file not in answers.read]
    p = classifier.embedder.preparation
    for batch in decode_ahead(others, p.size, p.grayscale, ink=p.ink, top=p.top):
        before = support.prints.digests[[row_of[file] for file in batch.files]]
        same = (Prints.of(batch.images).digests == before).all(1).tolist()
        unchanged += [file for file, is_same in zip(batch.files, same, strict=True) if is_same]
    pictures: dict[str, list[Thumbnail]] = {name: [] for name in support.classes}
    for file, image in _read(unchanged, answers.read).items():
        name = support.classes[int(support.labels[row_of[file]])]
        pictures[name].append(thumbnail(image, f"{name}: {one_line(file)}", _OF_SUPPORT))
    return pictures


def _card(row: Row, picture: Tensor | None) -> AnswerCard:
    alt = f"{one_line(row.file)}, taken for {row.answer}"
    path = os.path.abspath(row.file)
    if picture is None:
        return AnswerCard(row, None)
    return AnswerCard(row, thumbnail(picture, alt, _SIDE), path if printable(path) == path else "")


def _page(
    answers: AnswersToShow, table: Path, cards: Sequence[AnswerCard], support: dict[str, list[Thumbnail]]
) -> AnswersPage:
    classifier, answered = answers.classifier, len(answers.rows)
    by_class = Counter(row.answer for row in new_ones(answers.rows))
    counts = zip(classifier.classes, classifier.support.counts().tolist(), strict=True)
    classes = [
        ClassCard(name, count, support[name], by_class[name], printable(name).strip() == name)
        for name, count in counts
    ]
    confused = [
        ConfusedClasses(classes[pair.first], classes[pair.second], pair.confusion)
        for pair in answers.confused[:_PAIRS]
    ]
    if answers.open_set:
        classes.append(ClassCard(NONE, 0, [], by_class[NONE]))
    return AnswersPage(
        title="What 1 picture shows" if answered == 1 else f"What {answered:,} pictures show",
        unsure=sum(row.probability < UNSURE for row in new_ones(answers.rows)),
        summary=answers.summary,
        facts=[
            ("Classifier", one_line(answers.source)),
            ("Network", classifier.embedder.origin.network),
            ("Classes", f"{classifier.support.way:,}"),
            ("Support pictures", f"{len(classifier.support):,}"),
            ("Table", one_line(table)),
        ],
        outlook=answers.assessment,
        confused=confused,
        calibration=_calibration(classifier),
        cards=cards,
        answered=answered,
        table=table.name,
        classes=classes,
        learns_by=answers.learns_by,
        not_learned=answers.not_learned,
        not_answered=answers.not_answered,
    )


def _calibration(classifier: FittedClassifier) -> str:
    if not classifier.embedder.temperatures:
        return ""  # the assessment says that the run has no calibration
    if len(classifier.held_out):
        return "Probabilities are calibrated: of answers with 80 % about four in five are right."
    return (
        "Probabilities are calibrated only on validation classes of the run: with one picture of each "
        "class, or near copies of one, it is not known how well that fits these classes."
    )
