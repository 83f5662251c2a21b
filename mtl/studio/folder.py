"""The user's folder: read as it is, and changed only by a plan that was confirmed, which can be undone."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mtl.data.class_tree import require_distinct_names
from mtl.data.folders import class_contents, contents
from mtl.errors import one_line
from mtl.runtime.outputs import remove_empty, replacing, sync_folder, write_whole
from mtl.studio.board import Board, class_of


@dataclass(frozen=True)
class Found:
    """The pictures of a folder, by the digest of their bytes."""

    files: Mapping[str, str]  # the path of each below the folder, in POSIX form
    copies: Mapping[str, Sequence[str]]  # the paths of those that are there more than once
    left_out: Sequence[str]  # what was passed over, a sentence each


@dataclass(frozen=True)
class Move:
    """A file that would get another place; both paths are below the folder."""

    picture: str  # its id
    to: str
    of: str | None  # None: a dropped picture, which is copied


def digest(path: Path) -> str:
    """32 hexadecimal digits of SHA-256 of a file's bytes: the id of a picture."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def read_folder(folder: Path) -> Found:
    """Pictures in the folders of classes, and right in the folder, which are of no class.

    Raises:
        UserError: it cannot be read, or names of classes look the same.
    """
    left_out: list[str] = []
    top = contents(folder, left_out)
    require_distinct_names([sub.name for sub in top.folders], folder)
    files: dict[str, str] = {}
    copies: dict[str, list[str]] = {}
    each = [*top.pictures, *(p for sub in top.folders for p in class_contents(sub, left_out)[1].pictures)]
    for path in each:
        below = path.relative_to(folder)
        try:
            key = digest(path)
        except OSError as error:
            left_out.append(f"{one_line(below)}: cannot be read ({error.strerror})")
            continue
        if key not in files:
            files[key] = below.as_posix()
            continue
        first = files[key]
        copies.setdefault(key, [first]).append(below.as_posix())
        same = class_of(first) == class_of(below.as_posix())
        why = "it counts once" if same else "only you know which class is right"
        left_out.append(f"{one_line(below)}: is the same picture as {one_line(first)}; {why}")
    return Found(files, copies, left_out)


def plan(board: Board, folder: Path, copies: Mapping[str, Sequence[str]]) -> list[Move]:
    """What would bring the folder to the classes of the board; nothing is replaced, and nothing removed.

    Args:
        board: whose pictures with another class than their folder's are moved, with all their copies.
        folder: the user's.
        copies: as `read_folder` found them.
    """
    moves: list[Move] = []
    taken = set[Path]()
    wanted = [(k, p) for k, p in board.pictures.items() if p.counts and p.label is not None]
    files = [(k, p, path) for k, p in wanted for path in (copies.get(k, [p.path]) if p.path else [None])]
    for key, picture, path in files:
        if (path and class_of(path)) == picture.label:
            continue
        if not picture.ending if path is None else (folder / path).is_symlink():
            continue
        # A name that came with an upload never becomes part of a path.
        name = f"{key[:16]}{picture.ending}" if path is None else Path(path).name
        home = class_contents(folder / str(picture.label), [])[0]  # where the reader looks, as <class>/images
        target, number = home.relative_to(folder) / name, 2
        while target in taken or os.path.lexists(folder / target):
            target = target.with_name(f"{Path(name).stem} ({number}){Path(name).suffix}")
            number += 1
        taken.add(target)
        moves.append(Move(key, target.as_posix(), path))
    return moves


def undo_files(state: Path) -> list[Path]:
    """What was written down of changes that were made and not undone, the oldest first."""
    return sorted(state.glob("moves-*.json"))


def apply_moves(
    moves: Sequence[Move], folder: Path, pictures: Path, state: Path
) -> tuple[list[Move], list[str]]:
    """Moves and copies files, after it is written down how to undo that.

    Args:
        moves: as `plan` made them.
        folder: the user's.
        pictures: where dropped ones are kept by their ids.
        state: gets the file for `undo_moves`.

    Returns:
        What was done, and a sentence for each that could not be.
    """
    made = sorted({(folder / move.to).parent for move in moves if not (folder / move.to).parent.exists()})
    numbers = [int(file.stem.partition("-")[2].partition(".")[0]) for file in state.glob("moves-*")]
    content = {"moves": [asdict(m) for m in moves], "made": [f.name for f in made]}
    undo = state / f"moves-{max(numbers, default=0) + 1:05d}.json"
    write_whole(undo, json.dumps(content, indent=1).encode())
    sync_folder(state)
    done, problems = list[Move](), list[str]()
    for move in moves:
        try:
            target = folder / move.to
            target.parent.mkdir(exist_ok=True)
            if move.of is None:
                with replacing(target) as temporary:
                    shutil.copyfile(pictures / move.picture, temporary)
            else:
                _rename(folder / move.of, target)
            done.append(move)
        except OSError as error:
            problems.append(f"{one_line(move.of or move.to)}: cannot be moved ({error.strerror})")
    return done, problems


def undo_moves(undo: Path, folder: Path) -> list[str]:
    """Undoes what `apply_moves` did, as far as nobody has changed it since; returns what could not be."""
    content = json.loads(undo.read_bytes())
    problems = []
    for move in (Move(**one) for one in reversed(content["moves"])):
        target = folder / move.to
        try:
            if move.of is not None:
                if target.exists():
                    _rename(target, folder / move.of)
            elif target.exists() and digest(target) == move.picture:
                target.unlink()
        except OSError as error:
            problems.append(f"{one_line(move.to)}: cannot be moved back ({error.strerror})")
    remove_empty(folder / name for name in content["made"])
    undo.rename(undo.with_suffix(".undone"))
    return problems


def _rename(of: Path, to: Path) -> None:
    if os.path.lexists(to):
        raise FileExistsError(17, "a file is there")
    of.rename(to)
