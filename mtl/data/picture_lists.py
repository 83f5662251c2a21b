"""Pictures named in a table: a CSV file with a path and a label a row, and if wanted the split."""

import codecs
import csv
import glob
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mtl.errors import UserError, one_line

Part = Literal["train", "val", "test"]

ENDINGS = frozenset({".csv", ".tsv", ".txt", ".tab"})
_DELIMITERS = (",", ";", "\t", "|")
_SPREADSHEETS = frozenset({".xlsx", ".xls", ".ods", ".numbers"})

#: Header names, in lower case without spaces and underscores, in the order in which they are preferred.
_PATHS = (
    *("path", "file", "filename", "filepath", "image", "imagepath", "imagefile", "imagename"),
    *("img", "imgpath", "picture", "images"),
)
_LABELS = ("label", "class", "classname", "category", "target", "species", "labels", "y")
_PARTS = ("split", "set", "subset", "partition", "part")

#: What people call the three splits.
PART_NAMES: dict[str, Part] = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val"},
    **{"test": "test", "testing": "test"},
}
_FORM = "a row is path,label, or path,label,split"
_Row = tuple[int, list[str]]  # the line it begins in, and its cells


@dataclass(frozen=True)
class Listed:
    """A row of a list."""

    file: Path
    label: str
    part: Part | None  # train, val or test; None where the list has no splits
    line: int


def part_of(name: str) -> Part | None:
    """train, val or test where a name means one of them, in any case of letters."""
    return PART_NAMES.get(name.strip().casefold())


def is_spreadsheet(file: Path) -> bool:
    """Whether a file has the ending of a spreadsheet, which `read_list` refuses with advice."""
    return file.suffix.lower() in _SPREADSHEETS


def is_list(file: Path) -> bool:
    """Whether a file has the ending of a table of text."""
    return file.suffix.lower() in ENDINGS


def read_list(path: Path) -> list[Listed]:
    """The rows of a list, in their order; a row that repeats file and label counts once.

    Fields are separated by commas, semicolons or tabs, and may be quoted. The first row may name the columns.
    A relative path starts at the folder of the list.

    Raises:
        UserError: it cannot be read, a row lacks a field, a file is not there, or a file has two labels; says
            in which line.
    """
    shown = one_line(path)
    if is_spreadsheet(path):
        raise UserError(f"{shown}: is a spreadsheet; save it as CSV ({_FORM})")
    rows = _rows(_text(path), path)
    if not rows:
        raise UserError(f"{shown}: is empty; {_FORM}")
    columns = _columns(rows[0], path)
    found = [_listed(row, columns, path) for row in rows[columns.header :]]
    if not found:
        raise UserError(f"{shown}: has a header and no row; {_FORM}")
    missing = [one for one in found if not os.path.isfile(one.file)]
    if missing:
        raise UserError(_missing(missing, path))
    return _distinct(found, shown)


@dataclass(frozen=True)
class _Columns:
    path: int
    label: int
    part: int | None
    header: bool  # whether the first row names them


def _text(path: Path) -> str:
    """As UTF-8, or UTF-16 where the file begins like that, as spreadsheets may write it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{one_line(path)}: cannot be read ({error.strerror})") from None
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{one_line(path)}: line {line} is not UTF-8 text; save the list as CSV in UTF-8"
        ) from None


def _rows(text: str, path: Path) -> list[_Row]:
    """The rows that are not blank, by the delimiter under which all have the same number of cells, over one.

    Where several do, the one under which a cell is the name of a file; where none does, the one with which
    most rows have as many cells as the first.

    Raises:
        UserError: a quote is not closed, or not followed by a delimiter; says in which line.
    """
    if text.startswith("sep=") and len(text) > 4:  # as Excel marks the delimiter
        rows, error = _parsed(text.partition("\n")[2], text[4])
        rows = [(line + 1, cells) for line, cells in rows]
    else:
        ways = [_parsed(text, delimiter) for delimiter in _DELIMITERS]
        rows, error = max(ways, key=lambda way: _fit(way[0], way[1], path))
    if error is not None:
        line = rows[-1][0] + 1 if rows else 1
        raise UserError(f"{one_line(path)}: line {line} cannot be read ({error})")
    return rows


def _fit(rows: list[_Row], error: csv.Error | None, path: Path) -> tuple[bool, bool, int, int]:
    """How well a delimiter does, for comparison with another."""
    width = len(rows[0][1]) if rows and len(rows[0][1]) > 1 else 0
    same = sum(len(cells) == width for _, cells in rows)
    named = width > 0 and any(os.path.isfile(_file(cell, path)) for cell in rows[-1][1])
    return error is None and 0 < same == len(rows), named, same, width


def _parsed(text: str, delimiter: str) -> tuple[list[_Row], csv.Error | None]:
    """The rows up to the first that cannot be read, and why it cannot."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[_Row] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        return found, error
    return found, None


def _columns(first: _Row, path: Path) -> _Columns:
    """Which columns the list has; a header is known by the names of path and label.

    Raises:
        UserError: a header names only one of the two.
    """
    names = ["".join(cell.casefold().replace("_", " ").replace("-", " ").split()) for cell in first[1]]
    places = [
        next((names.index(n) for n in known if n in names), None) for known in (_PATHS, _LABELS, _PARTS)
    ]
    at, label, part = places
    if at is not None and label is not None:
        return _Columns(at, label, part, True)
    is_file = os.path.isfile(_file(first[1][0], path))
    if (at is not None or label is not None) and not is_file:
        lacking = "path" if at is None else "label"
        there = ", ".join(one_line(cell.strip()) for cell in first[1])
        raise UserError(f"{one_line(path)}: the header has no column {lacking} (it has: {there})")
    return _Columns(0, 1, 2 if len(first[1]) > 2 and part_of(first[1][2]) else None, False)


def _listed(row: _Row, columns: _Columns, path: Path) -> Listed:
    line, cells = row
    where = f"{one_line(path)}: line {line}"
    wanted = max(columns.path, columns.label, columns.part or 0)
    if len(cells) <= wanted:
        many = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
        raise UserError(f"{where} has {many}, and {wanted + 1} are needed; {_FORM}")
    label = cells[columns.label].strip()
    for what, cell in (("path", cells[columns.path]), ("label", label)):
        if not cell.strip() or "\0" in cell:
            raise UserError(f"{where} has no {what}; {_FORM}")
    part = None
    if columns.part is not None:
        part = part_of(cells[columns.part])
        if part is None:
            raise UserError(
                f"{where}: {one_line(cells[columns.part].strip())!r} is not a split; allowed are train, val "
                "and test (or training, valid, validation, testing)"
            )
    return Listed(_file(cells[columns.path], path), label, part, line)


def _file(cell: str, path: Path) -> Path:
    """The file of a cell: as written, else without outer spaces, else with / for \\."""
    names = [cell, cell.strip(), cell.strip().replace("\\", "/")]
    files = [path.parent / (os.path.expanduser(name) if name.startswith("~/") else name) for name in names]
    return next((file for file in files if os.path.isfile(file)), files[1])


def _missing(missing: Sequence[Listed], path: Path) -> str:
    one = missing[0]
    what = "is a folder, not a picture" if os.path.isdir(one.file) else "is not there"
    near = [] if one.file.suffix else sorted(one.file.parent.glob(f"{glob.escape(one.file.name)}.*"))
    hint = f" (there is {one_line(near[0].name)}: write the whole name)" if near else ""
    more = f"; {len(missing) - 1:,} more rows have no file" if len(missing) > 1 else ""
    return (
        f"{one_line(path)}: line {one.line}: {one_line(one.file)} {what}{hint}; paths are relative to the "
        f"folder of the list, and a first row that names columns has path and label{more}"
    )


def _distinct(found: Sequence[Listed], shown: str) -> list[Listed]:
    seen: dict[Path, Listed] = {}
    for one in found:
        before = seen.setdefault(one.file, one)
        if (before.label, before.part) != (one.label, one.part):
            says = [one_line(x.label if before.label != one.label else x.part) for x in (before, one)]
            raise UserError(
                f"{shown}: {one_line(one.file)} is {says[0]} in line {before.line} and {says[1]} in line "
                f"{one.line}; a picture is of one class and one split"
            )
    return list(seen.values())
