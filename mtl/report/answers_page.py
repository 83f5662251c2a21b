"""What was answered to a person's own pictures, as one page: least sure first, with the pictures."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mtl.fewshot.answers import Row, percent
from mtl.report.contents import Thumbnail
from mtl.report.layout import lay_out


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
