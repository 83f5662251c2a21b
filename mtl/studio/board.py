"""What the page knows: pictures, their classes, and every change as an event that can be taken back.

The board is a fold over events, each a JSON object with its kind under `do`:

- found: the user's folder as it was read, {id: path} in `files`; the ids of pictures that are in the folders
  of two classes, neither of which they had, in `unsure`, and those that are missing in `gone`
- moved: pictures that this program moved in the folder, {id: path or None} in `files`
- given: [id, name, class] of all `pictures` of a classifier, of which only features are there
- add: a picture `id` that was dropped, with its `name`, the `ending` of its kind, and perhaps a class, `to`
- label: pictures `ids` belong to the class `to`, or, if it is None, are new ones again
- aside: pictures `ids` are left out; none: they show none of the classes; keep: their doubted labels are
  right
- class: an empty class `name`; rename: class `of` becomes `to`, which may exist; remove: class `of` goes,
  its pictures are new ones again
- undo: takes back the last change by a person; changes with one `batch` go together
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mtl.data.class_tree import composed
from mtl.data.folders import is_system
from mtl.errors import UserError, one_line

Event = Mapping[str, Any]

_LONGEST = 100  # characters of a class's name
_FORBIDDEN = frozenset('/\\:*?"<>|')  # in names of folders, on one system or another
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)\s*(\..*)?", re.IGNORECASE)  # of Windows
_BY_PROGRAM = frozenset({"found", "moved", "given"})


@dataclass(frozen=True)
class Picture:
    """A picture by what people call it."""

    name: str
    path: str | None = None  # below the user's folder, as <class>/<file>; None: it was dropped into the page
    label: str | None = None  # None: it is a new picture, which gets an answer
    out: str = ""  # counts in nothing: left out ("aside"), or of none of the classes ("none")
    kept: bool = False  # its label was doubted, and is right
    gone: bool = False  # its file is missing; if it comes back, so does its class
    ending: str = ""  # of its kind, as .png, where it was dropped
    given: str | None = None  # its class in the classifier that brought it, of whose files none is needed

    @property
    def counts(self) -> bool:
        return not (self.out or self.gone)

    @property
    def home(self) -> str | None:
        """The class whose folder it is in; None where it is in none."""
        return class_of(self.path or "")


@dataclass
class Board:
    """All pictures by their ids, in the order in which they came; and classes, which may be empty."""

    pictures: dict[str, Picture] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)  # classes that were made in the page

    @property
    def classes(self) -> list[str]:
        used = {p.label for p in self.pictures.values() if p.label is not None and p.counts}
        return sorted(used | self.named)

    def of_class(self, name: str) -> list[str]:
        """The ids of its pictures, by name."""
        return self._ordered(lambda p: p.counts and p.label == name)

    def labelled(self) -> list[tuple[str, str]]:
        """(id, class) of every picture that the classifier is fitted to, by class and name."""
        return [(key, name) for name in self.classes for key in self.of_class(name)]

    def new(self) -> list[str]:
        """The ids of pictures without a class."""
        return self._ordered(lambda p: p.counts and p.label is None)

    def of_none(self) -> list[str]:
        """The ids of pictures that show none of the classes."""
        return self._ordered(lambda p: p.out == "none" and not p.gone)

    def _ordered(self, wanted: Callable[[Picture], bool]) -> list[str]:
        return sorted(
            (key for key, p in self.pictures.items() if wanted(p)),
            key=lambda key: (self.pictures[key].name, key),
        )


def class_of(path: str) -> str | None:
    """The class whose folder a path is in; None where it is in none."""
    first, _, rest = path.partition("/")
    return first if rest else None


def board_of(events: Iterable[Event]) -> Board:
    """The board after these events."""
    board = Board()
    for event in effective(events):
        _CHANGES[event["do"]](board, event)
    return board


def effective(events: Iterable[Event]) -> list[Event]:
    """The events without those that were taken back."""
    left: list[Event] = []
    for event in events:
        if event["do"] != "undo":
            left.append(event)
            continue
        if (last := last_change(left)) is not None:
            gone = [e for e in left if e is last or (last.get("batch") and e.get("batch") == last["batch"])]
            left = [e for e in left if not any(e is one for one in gone)]
    return left


def last_change(events: Sequence[Event]) -> Event | None:
    """The last effective event that a person caused."""
    return next((event for event in reversed(events) if event["do"] not in _BY_PROGRAM), None)


def described(event: Event) -> str:
    """A change in words, for the button that takes it back."""
    ids = event.get("ids", ())
    count = "1 picture" if len(ids) == 1 else f"{len(ids):,} pictures"
    return {
        "add": "adding pictures",
        "label": f"{count} to {event.get('to') or 'the new pictures'}",
        "aside": f"leaving out {count}",
        "none": f"{count} to none of these",
        "keep": f"keeping the label of {count}",
        "class": f"the new class {event.get('name')}",
        "rename": f"{event.get('of')} to {event.get('to')}",
        "remove": f"removing {event.get('of')}",
    }[str(event["do"])]


def class_name(text: object, classes: Iterable[str]) -> str:
    """A name as it was typed, in the spelling of the class that has it already, if one has.

    Raises:
        UserError: no folder can have this name on every system, or it would not be read as a class.
    """
    name, classes = composed(str(text)).strip(), list(classes)
    for known in classes:
        if composed(known) == name:
            return known
    if not name or len(name) > _LONGEST or len(name.encode(errors="replace")) > 2 * _LONGEST:
        raise UserError(f"class: a name has 1 to {_LONGEST} characters")
    if alike := [known for known in classes if composed(known).casefold() == name.casefold()]:
        raise UserError(
            f"class: {one_line(name)} differs from {one_line(alike[0])} only in upper and lower case, which "
            "some systems take for the same folder; choose another name"
        )
    if is_system(name) or _DEVICE.fullmatch(name):
        raise UserError(
            f"class: {one_line(name)} is a name that computers keep for themselves; choose another name"
        )
    if name.startswith(".") or name.endswith(".") or one_line(name) != name or _FORBIDDEN & {*name}:
        raise UserError(
            f'class: {one_line(name)} can be no name of a folder; a name has none of / \\ : * ? " < > | '
            "and no point at its ends"
        )
    return name


def checked(asked: Event, board: Board) -> dict[str, Any]:
    """A change that the page asks for, as an event.

    Raises:
        UserError: it is none, or is about pictures or classes that are not there.
    """
    kind = str(asked.get("do"))
    if kind == "undo":
        return {"do": "undo"}
    if kind == "class":
        name = class_name(asked.get("name", ""), board.classes)
        if name in board.classes:
            raise UserError(f"class: {name} is there already")
        return {"do": "class", "name": name}
    if kind in {"rename", "remove"}:
        if asked.get("of") not in board.classes:
            raise UserError(f"class: there is no {one_line(asked.get('of'))}")
        event = {"do": kind, "of": asked["of"]}
        if kind == "rename":
            event["to"] = class_name(asked.get("to", ""), [c for c in board.classes if c != asked["of"]])
        return event
    if kind in {"label", "aside", "none", "keep"}:
        ids = asked.get("ids")
        if not isinstance(ids, list) or not ids or not all(isinstance(i, str) for i in ids):
            raise UserError("ids: must be the ids of pictures")
        if unknown := [i for i in ids if i not in board.pictures]:
            raise UserError(f"ids: there is no picture {one_line(unknown[0])[:40]}")
        event = {"do": kind, "ids": ids}
        if kind == "label":
            to = asked.get("to")
            event["to"] = None if to is None else class_name(to, board.classes)
        return event
    raise UserError("do: must be label, aside, none, keep, class, rename, remove or undo")


def _change(board: Board, ids: Iterable[str], **fields: Any) -> None:
    for key in ids:
        if key in board.pictures:
            board.pictures[key] = replace(board.pictures[key], **fields)


def _found(board: Board, event: Event) -> None:
    """A file that is elsewhere than before was moved by hand: its class is the folder's, unless the page has
    changed it. An unsure one has none."""
    for key, path in event.get("files", {}).items():
        before = board.pictures.get(key, Picture(path))
        now = replace(before, name=path, path=path, gone=False)
        if before.label == before.home:
            label = None if key in event.get("unsure", ()) else now.home
            now = replace(now, label=label, kept=before.kept and label == before.label)
        board.pictures[key] = now
    _change(board, event.get("gone", ()), gone=True)


def _moved(board: Board, event: Event) -> None:
    for key, path in event["files"].items():
        if (before := board.pictures.get(key)) is not None:
            named = path if path is not None and before.path is not None else before.name
            board.pictures[key] = replace(before, path=path, name=named)


def _add(board: Board, event: Event) -> None:
    before = board.pictures.get(event["id"], Picture(event["name"], ending=event["ending"]))
    if before.gone:  # the file that was dropped is there, where it was before is not
        before = replace(before, name=event["name"], path=None, ending=event["ending"], gone=False)
    if before.out == "aside" or event.get("to"):
        before = replace(before, out="")
    label = event.get("to") or before.label
    board.pictures[event["id"]] = replace(before, label=label, kept=False)


def _given(board: Board, event: Event) -> None:
    """The pictures of the classifier as it is now, with its labels, unless the page has changed them."""
    given = {key: (name, label) for key, name, label in event["pictures"]}
    board.pictures = {k: p for k, p in board.pictures.items() if p.given is None or k in given}
    for key, (name, label) in given.items():
        before = board.pictures.get(key, Picture(name))
        now = replace(before, name=name, given=label, gone=False)
        if before.label == before.given:
            now = replace(now, label=label, kept=before.kept and label == before.label)
        board.pictures[key] = now


def _rename(board: Board, event: Event) -> None:
    of, to = event["of"], event["to"]
    _change(board, [k for k, p in board.pictures.items() if p.label == of], label=to, kept=False)
    if of in board.named:
        board.named.remove(of)
        board.named.add(to)


def _remove(board: Board, event: Event) -> None:
    _change(board, [k for k, p in board.pictures.items() if p.label == event["of"]], label=None, kept=False)
    board.named.discard(event["of"])


_CHANGES: Mapping[str, Callable[[Board, Event], None]] = {
    "found": _found,
    "moved": _moved,
    "given": _given,
    "add": _add,
    "label": lambda board, e: _change(board, e["ids"], label=e["to"], out="", kept=False),
    "aside": lambda board, e: _change(board, e["ids"], out="aside"),
    "none": lambda board, e: _change(board, e["ids"], out="none"),
    "keep": lambda board, e: _change(board, e["ids"], kept=True),
    "class": lambda board, e: board.named.add(e["name"]),
    "rename": _rename,
    "remove": _remove,
}
