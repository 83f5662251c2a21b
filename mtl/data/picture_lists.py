"""Pictures named in a table: a CSV file with a path and a label a row, and if wanted the split."""

import codecs
import csv
import glob
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl.data.folders import Part, part_of, refuse_archive
from mtl.errors import UserError, counted, one_line

_ENDINGS = frozenset({".csv", ".tsv", ".txt", ".tab"})
_DELIMITERS = (",", ";", "\t", "|")
_SPREADSHEETS = frozenset({".xlsx", ".xls", ".ods", ".numbers"})

#: Header names, in lower case without spaces and underscores, in the order in which they are preferred.
_PATHS = (
    *("path", "file", "filename", "filepath", "image", "imagepath", "imagefile", "imagename"),
    *("img", "imgpath", "picture", "images"),
)
_LABELS = ("label", "class", "classname", "category", "target", "species", "labels", "y")
_PARTS = ("split", "set", "subset", "partition", "part")
_FORM = "a row is path,label, or path,label,split"
_Row = tuple[int, list[str]]  # the line it begins in, and its cells
_Columns = tuple[int, int, int | None]  # where path, label and, if there is one, split are


@dataclass(frozen=True)
class ListRow:
    """A row of a list."""

    file: Path
    label: str
    part: Part | None  # train, val or test; None where the list has no splits
    line: int


def is_list(file: Path) -> bool:
    """True if a file has the ending of a table of text."""
    return file.suffix.lower() in _ENDINGS


def read_list(path: Path, option: str) -> list[ListRow]:
    """The rows of a list, in their order; a row that repeats file and label counts once.

    Fields are separated by commas, semicolons, bars or tabs, and may be quoted. The first row may name the
    columns. A relative path starts at the folder of the list. `option` is how the user gave it, such as
    "--support ", for messages.

    Raises:
        UserError: it is not a list or cannot be read, a row lacks a field, a file is missing, or a file has
            two labels; says in which line.
    """
    shown = one_line(path)
    if path.suffix.lower() in _SPREADSHEETS:  # which may be archives inside
        raise UserError(f"{shown}: is a spreadsheet; save it as CSV ({_FORM})")
    refuse_archive(path, option)
    if not is_list(path):
        raise UserError(
            f"{shown}: is a file of another kind; wanted is a folder with a folder for each class, or a CSV "
            "file with a row path,label for each picture"
        )
    rows = _rows(_text(path), path)
    if not rows:
        raise UserError(f"{shown}: is empty; {_FORM}")
    columns, has_header = _columns(rows[0], path)
    listed = [_listed(row, columns, path) for row in rows[has_header:]]
    if not listed:
        raise UserError(f"{shown}: has a header and no row; {_FORM}")
    if missing := [row for row in listed if not os.path.isfile(row.file)]:
        raise UserError(_missing(missing, path))
    return _distinct(listed, shown)


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
    """The rows that are not blank, by the delimiter that fits best."""
    if text.startswith("sep=") and len(text) > 4:  # as Excel marks the delimiter
        rows, error = _parsed(text.partition("\n")[2], text[4])
        rows = [(line + 1, cells) for line, cells in rows]
    else:
        parsed = [_parsed(text, delimiter) for delimiter in _DELIMITERS]
        rows, error = max(parsed, key=lambda way: _fit(way[0], way[1], path))
    if error is not None:
        line = rows[-1][0] + 1 if rows else 1
        raise UserError(f"{one_line(path)}: line {line} cannot be read ({error})")
    return rows


def _fit(rows: list[_Row], error: csv.Error | None, path: Path) -> tuple[bool, bool, int, int]:
    """How well a delimiter fits: under it all rows have the same number of cells, over one, and a cell is a
    file.

    Where none does, the best is the one with which most rows have as many cells as the first.
    """
    width = len(rows[0][1]) if rows and len(rows[0][1]) > 1 else 0
    same = sum(len(cells) == width for _, cells in rows)
    named = width > 0 and any(os.path.isfile(_file(cell, path)) for cell in rows[-1][1])
    return error is None and 0 < same == len(rows), named, same, width


def _parsed(text: str, delimiter: str) -> tuple[list[_Row], csv.Error | None]:
    """The rows up to the first that cannot be read, and why it cannot."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[_Row] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        return rows, error
    return rows, None


def _columns(first: _Row, path: Path) -> tuple[_Columns, bool]:
    """Which columns the list has, and True if its first row names them: it does if it names path and
    label."""
    cells = first[1]
    names = ["".join(cell.casefold().replace("_", " ").replace("-", " ").split()) for cell in cells]
    at, label, part = (
        next((names.index(name) for name in known if name in names), None)
        for known in (_PATHS, _LABELS, _PARTS)
    )
    if at is not None and label is not None:
        return (at, label, part), True
    if (at is not None or label is not None) and not os.path.isfile(_file(cells[0], path)):
        lacking = "path" if at is None else "label"
        there = ", ".join(one_line(cell.strip()) for cell in cells)
        raise UserError(f"{one_line(path)}: the header has no column {lacking} (it has: {there})")
    return (0, 1, 2 if len(cells) > 2 and part_of(cells[2]) else None), False


def _listed(row: _Row, columns: _Columns, path: Path) -> ListRow:
    line, cells = row
    path_at, label_at, part_at = columns
    where = f"{one_line(path)}: line {line}"
    needed = max(path_at, label_at, part_at or 0) + 1
    if len(cells) < needed:
        raise UserError(f"{where} has {counted(len(cells), 'field')}, and {needed} are needed; {_FORM}")
    for what, cell in (("path", cells[path_at]), ("label", cells[label_at])):
        if not cell.strip() or "\0" in cell:
            raise UserError(f"{where} has no {what}; {_FORM}")
    part = None if part_at is None else part_of(cells[part_at])
    if part_at is not None and part is None:
        raise UserError(
            f"{where}: {one_line(cells[part_at].strip())!r} is not a split; allowed are train, val and test "
            "(or training, valid, validation, testing)"
        )
    return ListRow(_file(cells[path_at], path), cells[label_at].strip(), part, line)


def _file(cell: str, path: Path) -> Path:
    """The file of a cell: as written, else without outer spaces, else with / for \\."""
    names = [cell, cell.strip(), cell.strip().replace("\\", "/")]
    files = [path.parent / (os.path.expanduser(name) if name.startswith("~/") else name) for name in names]
    return next((file for file in files if os.path.isfile(file)), files[1])


def _missing(missing: Sequence[ListRow], path: Path) -> str:
    first = missing[0]
    what = "is a folder, not a picture" if os.path.isdir(first.file) else "is not there"
    near = [] if first.file.suffix else sorted(first.file.parent.glob(f"{glob.escape(first.file.name)}.*"))
    hint = f" (there is {one_line(near[0].name)}: write the whole name)" if near else ""
    rest = len(missing) - 1
    more = f"; {counted(rest, 'more row')} {'has' if rest == 1 else 'have'} no file" if rest else ""
    return (
        f"{one_line(path)}: line {first.line}: {one_line(first.file)} {what}{hint}; paths are relative to "
        f"the folder of the list, and a first row that names columns has path and label{more}"
    )


def _distinct(rows: Sequence[ListRow], shown: str) -> list[ListRow]:
    by_file: dict[Path, ListRow] = {}
    for row in rows:
        before = by_file.setdefault(row.file, row)
        if (before.label, before.part) != (row.label, row.part):
            says = [one_line(x.label if before.label != row.label else x.part) for x in (before, row)]
            raise UserError(
                f"{shown}: {one_line(row.file)} is {says[0]} in line {before.line} and {says[1]} in line "
                f"{row.line}; a picture is of one class and one split"
            )
    return list(by_file.values())
