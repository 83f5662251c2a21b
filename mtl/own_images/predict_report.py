"""The answers with their pictures: a page and a contact sheet."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mtl.data.prefetch import decode_ahead
from mtl.errors import one_line
from mtl.own_images.answers import NONE, Row, new_ones, percent, told
from mtl.own_images.classifier import Fitted
from mtl.own_images.contact_sheet import MOST, contact_sheet
from mtl.own_images.fit import Source
from mtl.own_images.predict_request import Asked
from mtl.own_images.read_support import read_ahead
from mtl.report.cards import thumbnail
from mtl.report.contents import Thumbnail
from mtl.report.layout import lay_out
from mtl.runtime.outputs import write_whole


@dataclass(frozen=True)
class AnswerCard:
    """The answer to one picture."""

    row: Row
    picture: Thumbnail | None  # None: it can no longer be read


@dataclass(frozen=True)
class ClassCard:
    """One class of the support set, or the answer that is none of them."""

    name: str
    learned_from: int  # support pictures; 0: it is none of the classes
    pictures: Sequence[Thumbnail]  # some of them
    answered: int  # pictures that were taken for it


@dataclass(frozen=True)
class AnswersPage:
    """The page."""

    title: str
    told: str  # what was answered by what, in a sentence or two
    facts: Sequence[tuple[str, str]]  # a word and its value
    outlook: Sequence[str]  # how well it will do, a sentence each
    calibrated: bool  # whether probabilities rest on validation tasks
    cards: Sequence[AnswerCard]  # least sure first
    answered: int  # of which the cards show the first
    table: str  # the file that has them all
    classes: Sequence[ClassCard]
    not_learned: Sequence[str]  # what was no part of the support set and why, a sentence each
    not_answered: Sequence[str]  # files that got no answer and why, a sentence each


def render(page: AnswersPage) -> str:
    """The page, to be written as UTF-8."""
    shown = Counter(card.row.answer for card in page.cards)
    helpers = {
        "shown_of": lambda name: shown[name],
        "class_place": _places(one.name for one in page.classes),
        "file_place": _places(sorted(card.row.file for card in page.cards)),
    }
    return lay_out(
        "answers.html",
        helpers=helpers,
        filters={"share": _unbroken},
        styles=("style.css", "answers.css"),
        scripts=("script.js", "answers.js"),
        page=page,
    )


def _unbroken(share: float) -> str:
    return percent(share).replace(" ", "\N{NO-BREAK SPACE}")


def _places(names: Iterable[str]) -> Callable[[str], int]:
    """A number for each name, so that no name has to stand in an attribute."""
    return {name: place for place, name in enumerate(dict.fromkeys(names), 1)}.__getitem__


MOST_BYTES = 3_000_000
_CARDS = 200  # of the page
_SIDE, _ON_PAGE, _OF_SUPPORT = 160, 96, 48  # pixels: as read and on the sheet; on the page
_PICTURES, _OF_A_CLASS = 120, 6  # support pictures: in all, and of a class
_SAME = 0.02  # features of a file that is as it was differ by less, as a share of their length


def draw_answers(
    asked: Asked,
    source: Source,
    outlook: Sequence[str],
    answered: Sequence[Row],
    total: int,
    not_answered: Sequence[str],
    stopped: bool = False,
) -> None:
    """Writes the page and the contact sheet beside the table.

    Args:
        asked: what was asked, which names the files.
        source: the classifier.
        outlook: how well it will do, a sentence each.
        answered: all answers, least sure first.
        total: how many pictures there are, answered or not.
        not_answered: which files have none and why, a sentence each.
        stopped: whether further pictures were not looked at.
    """
    shown = answered[:_CARDS]
    read = _read([Path(row.file) for row in shown])
    pictures = [read.get(Path(row.file)) for row in shown]
    support = _support_pictures(source.fitted)
    cards = [_card(row, picture) for row, picture in zip(shown, pictures, strict=True)]
    while True:
        page = render(_page(asked, source, outlook, answered, total, cards, support, not_answered, stopped))
        if len(page.encode()) <= MOST_BYTES or len(cards) <= 1:
            break
        cards = cards[: len(cards) // 2]
    write_whole(asked.page, page.encode())
    part = f"The {MOST} least sure of " if len(answered) > MOST else ""
    title = f"{part}{len(answered):,} picture{'s' if len(answered) > 1 else ''}, least sure first"
    note = f"classes: {', '.join(source.fitted.classes)}"
    contact_sheet(answered[:MOST], pictures[:MOST], title, note, asked.sheet)


def _read(files: Sequence[Path]) -> dict[Path, Tensor]:
    """Pictures in colour, for people; without those that are gone."""
    batches = decode_ahead(files, _SIDE, grayscale=False)
    return {file: image for batch in batches for file, image in zip(batch.files, batch.images, strict=True)}


def _support_pictures(fitted: Fitted) -> dict[str, list[Thumbnail]]:
    """Some pictures of each class, from the files that it was fitted to if they still are what they were."""
    support, prepared = fitted.support, fitted.embedder.preparation
    most = max(1, min(_OF_A_CLASS, _PICTURES // support.way))
    places = [
        place
        for k in range(support.way)
        for place in (support.labels == k).nonzero().flatten().tolist()[:most]
    ]
    places = places[:_PICTURES]
    wanted = {Path(support.files[place]): place for place in places if support.files[place]}
    same = set()
    for batch in read_ahead(list(wanted), prepared):
        if batch.files:
            was = support.features[[wanted[file] for file in batch.files]]
            near = (fitted.embedder(batch.images) - was).norm(dim=-1) <= _SAME * was.norm(dim=-1)
            same |= {file for file, as_it_was in zip(batch.files, near.tolist(), strict=True) if as_it_was}
    found: dict[str, list[Thumbnail]] = {name: [] for name in support.classes}
    for file, image in _read([file for file in wanted if file in same]).items():
        name = support.classes[int(support.labels[wanted[file]])]
        found[name].append(thumbnail(image, f"{name}: {one_line(file)}", _OF_SUPPORT))
    return found


def _card(row: Row, picture: Tensor | None) -> AnswerCard:
    alt = f"{one_line(row.file)}, taken for {row.answer}"
    return AnswerCard(row, None if picture is None else thumbnail(picture, alt, _ON_PAGE))


def _page(
    asked: Asked,
    source: Source,
    outlook: Sequence[str],
    answered: Sequence[Row],
    total: int,
    cards: Sequence[AnswerCard],
    support: dict[str, list[Thumbnail]],
    not_answered: Sequence[str],
    stopped: bool,
) -> AnswersPage:
    fitted, found = source.fitted, Counter(row.answer for row in new_ones(answered))
    counts = zip(fitted.classes, fitted.support.counts().tolist(), strict=True)
    classes = [ClassCard(name, count, support[name], found[name]) for name, count in counts]
    if asked.open_set:
        classes.append(ClassCard(NONE, 0, [], found[NONE]))
    facts = [
        ("Classifier", one_line(asked.of)),
        ("Network of", fitted.embedder.origin.run),
        ("Classes", f"{fitted.support.way:,}"),
        ("Support pictures", f"{len(fitted.support):,}"),
        ("Table", one_line(asked.out)),
    ]
    plural = "picture" if len(answered) == 1 else "pictures"
    return AnswersPage(
        title=f"What {len(answered):,} {plural} show" + ("s" if len(answered) == 1 else ""),
        told=told(answered, total) + (" It was stopped before the others." if stopped else ""),
        facts=facts,
        outlook=outlook,
        calibrated=bool(fitted.embedder.temperatures),
        cards=cards,
        answered=len(answered),
        table=asked.out.name,
        classes=classes,
        not_learned=source.left_out,
        not_answered=not_answered,
    )
