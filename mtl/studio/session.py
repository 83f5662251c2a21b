"""The page without a browser: pictures and their classes, and the classifier that is fitted to them.

A change of classes fits the head again, as `fit` does to the same pictures with the same labels. Whatever a
method has answered survives a kill: changes are in the journal, dropped pictures in files, by then.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image

from mtl.config import Log
from mtl.data.formats import EXTENSIONS
from mtl.data.near_copies import Compared
from mtl.data.own_picture import own_picture
from mtl.errors import UserError, one_line
from mtl.own_images import classifier_file
from mtl.own_images.answers import Row, to_csv
from mtl.own_images.embedder import Embedder
from mtl.own_images.support import Support
from mtl.report.cards import Encoded, encoded
from mtl.runtime.outputs import sync_folder
from mtl.studio import board as boards
from mtl.studio.features import Embedded, Features
from mtl.studio.fitted_board import FittedBoard, View, fit_board
from mtl.studio.folder import Move, apply_moves, digest, plan, read_folder, undo_files, undo_moves
from mtl.studio.journal import Journal

MOST_PICTURES = 20_000
SIDE = 192  # pixels of a picture on the page
_LONGEST_NAME = 120


class Session:
    """One person's pictures, classes and answers. Not thread-safe.

    Args:
        embedder: the network, whose features are used.
        state: a folder of this program's own, which exists.
        folder: the user's, `<folder>/<class>/*`; None: there is none.
        given: the support set of a classifier, whose pictures there need not be.
        log: how progress is shown.

    Raises:
        UserError: a folder cannot be read, or the state not be written.
    """

    def __init__(
        self,
        embedder: Embedder,
        state: Path,
        folder: Path | None = None,
        given: Support | None = None,
        log: Log | None = None,
    ) -> None:
        self.state, self.folder, self.log = state, folder, log
        self.pictures = state / "pictures"
        self.pictures.mkdir(exist_ok=True)
        for unfinished in self.pictures.glob("*.part"):
            unfinished.unlink()
        self.journal = Journal(state / "journal.jsonl")
        self.features = Features(embedder, state / "features.safetensors")
        self.notes: list[str] = []
        self._copies: Mapping[str, Sequence[str]] = {}
        self._compared: Compared = {}
        self._fitted: FittedBoard | str | None = None
        self._refresh()
        if given is not None:
            self._take(given)
        elif any(
            p.given is not None and k not in self.features.known for k, p in self.board.pictures.items()
        ):
            self.journal.close()
            raise UserError(
                f"--state: {one_line(state)} holds pictures of a classifier, which it was opened with; give "
                "that with --classifier, or name another folder with --state"
            )
        self._read_dropped()
        self.read_folder()
        self.features.save()
        self.thumbnail = lru_cache(4_000)(self._thumbnail)

    # ---- what changes

    def change(self, asked: boards.Event) -> None:
        """One change by a person, on disk when this returns; UserError where it makes no sense."""
        self._write(boards.checked(asked, self.board))

    def add(self, file: Path, name: str, to: str | None = None, batch: str = "") -> str:
        """Takes a dropped picture over from a file, which is moved; returns its id.

        Args:
            file: in the folder `pictures`; it is gone afterwards.
            name: what people call it, which never becomes part of a path.
            to: its class; None: it is a new picture.
            batch: what was dropped together is taken back together.

        Raises:
            UserError: it cannot be read, or there are too many pictures.
        """
        try:
            to = None if to is None else boards.class_name(to, self.board.classes)
            shown = one_line(name.replace("\\", "/").rpartition("/")[2])[:_LONGEST_NAME] or "picture"
            key = digest(file)
            if key not in self.board.pictures and len(self.board.pictures) >= MOST_PICTURES:
                raise UserError(f"{shown}: there are {MOST_PICTURES:,} pictures, and there can be no more")
            unread = self._embed({key: file}, Log(quiet=True))
            if key not in self.features.known:
                raise UserError(f"{shown}: {unread[-1].partition(': ')[2] or unread[-1]}")
            ending = _ending(file)
            os.replace(file, self.pictures / key)
            sync_folder(self.pictures)
        finally:
            file.unlink(missing_ok=True)
        self._write({"do": "add", "id": key, "name": shown, "ending": ending, "to": to, "batch": batch})
        return key

    def read_folder(self) -> None:
        """Reads the user's folder, as it is now."""
        if self.folder is None:
            return
        found = read_folder(self.folder)
        there = ((key, p) for key, p in self.board.pictures.items() if not p.gone)
        before = {key: p.path for key, p in there if p.path is not None}
        unread = self._embed({key: self.folder / path for key, path in found.files.items()}, self.log)
        self.notes = [*found.left_out, *unread]
        files = {key: path for key, path in found.files.items() if key in self.features.known}
        self._copies, unsure = found.copies, list[str]()
        for key in files.keys() & found.copies.keys():
            by_class = {boards.class_of(path): path for path in reversed(found.copies[key])}
            picture = self.board.pictures.get(key)
            if picture is not None and picture.label in by_class:
                files[key] = by_class[picture.label]
            elif len(by_class) > 1:
                unsure.append(key)
        changed = {key: path for key, path in files.items() if before.get(key) != path}
        gone = [key for key in before if key not in files]
        if changed or gone:
            unsure = sorted(key for key in unsure if key in changed)
            self._write({"do": "found", "files": changed, "unsure": unsure, "gone": gone})

    def plan(self) -> list[Move]:
        """What would bring the user's folder to the classes of the page."""
        return [] if self.folder is None else plan(self.board, self.folder, self._copies)

    def apply(self, mark: str) -> list[str]:
        """Carries out the plan that a person confirmed; returns what could not be done, a sentence each.

        Raises:
            UserError: the plan of this mark is no longer the one that there is.
        """
        moves = self.plan()
        if self.folder is None or not moves or mark != plan_mark(moves):
            raise UserError("the plan has changed since it was shown; look at it again")
        done, problems = apply_moves(moves, self.folder, self.pictures, self.state)
        self._write({"do": "moved", "files": {move.picture: move.to for move in done}})
        self.read_folder()
        return problems

    def undo_moves(self) -> list[str]:
        """Takes the last changes of the user's folder back; the classes of the page stay as they are."""
        undoable = undo_files(self.state)
        if self.folder is None or not undoable:
            raise UserError("there is no change of the folder to undo")
        moves = [Move(**one) for one in json.loads(undoable[-1].read_bytes())["moves"]]
        # written down first: a kill in between then looks as if files had been moved by hand
        self._write({"do": "moved", "files": {m.picture: m.of for m in moves}})
        problems = undo_moves(undoable[-1], self.folder)
        self.read_folder()
        return problems

    def close(self) -> None:
        self.features.save()
        self.journal.close()

    # ---- what is seen

    def fit(self) -> FittedBoard | str:
        """The classifier of the classes as they are now, or a sentence that says why there is none."""
        if self._fitted is None:
            self._fitted = fit_board(self.board, self.features, self._compared)
        return self._fitted

    def view(self) -> View:
        """All that the page shows, as JSON."""
        board, fitted = self.board, self.fit()
        last = boards.last_change(boards.effective(self.journal.events))
        view: View = {
            "pictures": {
                k: {"name": p.name} for k, p in board.pictures.items() if p.counts or p.out == "none"
            },
            "classes": [{"name": name, "pictures": board.of_class(name)} for name in board.classes],
            "none": board.of_none(),
            "undo": None if last is None else boards.described(last),
            "folder": None if self.folder is None else str(self.folder),
            "moves": len(self.plan()),
            "undo_moves": len(undo_files(self.state)),
        }
        if isinstance(fitted, str):
            missing = {"missing": fitted, "answers": [], "next": [], "unanswered": board.new()}
            return view | missing | {"notes": self.notes}
        notes = [*self.notes, *fitted.left_out]
        return view | {"missing": None, "unanswered": [], "notes": notes} | fitted.view()

    def answers(self) -> list[tuple[str, Row]]:
        """Of every new picture its id and answer, the least sure first; none without a classifier."""
        fitted = self.fit()
        return [] if isinstance(fitted, str) else fitted.answers()

    def csv(self) -> bytes:
        """The table of answers, as `predict` writes it."""
        return to_csv([row for _, row in self.answers()], [], False)

    def save(self) -> Path:
        """Writes the classifier into the state's folder; UserError where there is none."""
        fitted = self.fit()
        if isinstance(fitted, str):
            raise UserError(fitted)
        path = self.state / "classifier.fewshot"
        classifier_file.save(fitted.classifier, path)
        return path

    def path_of(self, key: str) -> Path | None:
        """The file of a picture; None where only its features are known."""
        picture = self.board.pictures.get(key)
        if picture is None:
            return None
        if picture.path is not None and self.folder is not None:
            return self.folder / picture.path
        kept = self.pictures / key
        return kept if kept.exists() else None

    # ---- inside

    def _write(self, event: boards.Event) -> None:
        self.journal.append(event)
        self._refresh()

    def _embed(self, files: Mapping[str, Path], log: Log | None) -> list[str]:
        there = {key: path for key in self.features.deep if (path := self.path_of(key)) and path.exists()}
        self._fitted = None
        return self.features.read(there | dict(files), log)

    def _refresh(self) -> None:
        self.board = boards.board_of(self.journal.events)
        self._fitted = None

    def _take(self, given: Support) -> None:
        """The support pictures of a classifier, of which only features and small thumbnails are there."""
        now = dict[str, tuple[str, str]]()
        for i, (name, file) in enumerate(zip(given.names(), given.files, strict=True)):
            key = hashlib.sha256(given.features[i].numpy().tobytes()).hexdigest()[:32]
            self.features.known[key] = Embedded(given.features[i], given.prints.some([i]))
            now[key] = (one_line(file), name)
        there = {k: p for k, p in self.board.pictures.items() if p.given is not None}
        if now != {k: (p.name, p.given) for k, p in there.items()} or any(p.gone for p in there.values()):
            self._write({"do": "given", "pictures": [[key, *of] for key, of in now.items()]})

    def _read_dropped(self) -> None:
        files = {key: self.pictures / key for key, p in self.board.pictures.items() if p.path is None}
        kept = {key: path for key, path in files.items() if path.exists()}
        self.notes += self._embed(kept, self.log)
        if lost := [k for k in files if k not in self.features.known and not self.board.pictures[k].gone]:
            self._write({"do": "found", "gone": lost})

    def _thumbnail(self, key: str) -> Encoded:
        """The middle square of a picture; KeyError where there is no such picture."""
        path = self.path_of(key)
        try:
            if path is None:
                raise UserError("only its features are known")
            return encoded(own_picture(path, SIDE, False)[0], SIDE)
        except UserError:
            if key not in self.board.pictures:
                raise KeyError(key) from None
            return encoded(self.features.known[key].prints.thumbnails, SIDE)


def plan_mark(moves: list[Move]) -> str:
    """What tells one plan from another."""
    return hashlib.sha256(repr(moves).encode()).hexdigest()[:32]


def _ending(path: Path) -> str:
    """The ending of a picture's kind."""
    try:
        with Image.open(path) as image:
            kind = str(image.format)
    except Exception:  # Pillow opens less than `own_picture`
        return ".jpg"
    ending = {"JPEG": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2"}.get(kind, f".{kind.lower()}")
    return ending if ending in EXTENSIONS else ".jpg"  # which is read as what it is
