"""The answers with their pictures: a page and a contact sheet."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from mtl.data.decode_ahead import decode_ahead
from mtl.errors import one_line
from mtl.fewshot.answers import NONE, Row, new_ones, told
from mtl.fewshot.fitted import Fitted
from mtl.report.answers_page import AnswerCard, AnswersPage, ClassCard, render
from mtl.report.contact_sheet import MOST, contact_sheet
from mtl.report.contents import Thumbnail
from mtl.report.thumbnails import thumbnail
from mtl.runtime.outputs import write_whole
from mtl.stages.asked import Asked
from mtl.stages.fit import Source
from mtl.stages.support import read_ahead

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
