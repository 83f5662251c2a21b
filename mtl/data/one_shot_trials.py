"""The one-shot trials of Lake et al. (Science 2015) as they are published: 20 runs of 20 trials each.

A run is a folder `run01` with `training/class01.png` ..., one drawing a class, `test/item01.png` ..., and
`class_labels.txt`, whose lines name a test drawing and the training drawing of the same character. The runs
are in a zip file or a folder, or one folder further down. Names in an archive are only compared, never used
as paths, and no more of a file is unpacked than a drawing may have.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from mtl.data.formats import in_words
from mtl.errors import UserError, counted, one_line

_NAME = re.compile(
    r"(?:(?P<top>[^/]+)/)?(?P<run>run\d+)/"
    r"(?P<file>(?:training|test)/[^/.][^/]*\.png|class_labels\.txt)"
)
_LABELS = "class_labels.txt"
_MOST_FILES, _MOST_BYTES, _MOST_PIXELS = 5_000, 1 << 20, 1 << 20  # of an archive, a file, a drawing
_WANTED = "each run is a folder run01, run02, ... with training/*.png, test/*.png and class_labels.txt"

Files = Mapping[str, Callable[[], bytes]]  # what reads each file, by its name within a run


@dataclass(frozen=True, eq=False)
class Trials:
    """One run: N classes with a drawing each, and Q drawings to classify."""

    name: str
    training: tuple[Image.Image, ...]  # (N,)
    test: tuple[Image.Image, ...]  # (Q,)
    labels: tuple[int, ...]  # (Q,) the place of the right one among `training`


def read_trials(place: Path) -> list[Trials]:
    """All runs of an archive or a folder, by name.

    Raises:
        UserError: there are none, or one is not complete; names the file and says what is wrong.
    """
    with _files(place) as found:
        runs: dict[str, dict[str, Callable[[], bytes]]] = {}
        for name, read in found:
            match = _NAME.fullmatch(name)
            if match and match["top"] != "__MACOSX":
                files = runs.setdefault(match["run"], {})
                if match["file"] in files:
                    raise UserError(f"{one_line(place)}: {match['run']}/{match['file']} is there twice")
                files[match["file"]] = read
        if len(runs) < 2:
            raise UserError(
                f"{one_line(place)}: holds {counted(len(runs), 'run')}, not two or more; {_WANTED}"
            )
        return [_trials(f"{one_line(place)}: {name}", name, runs[name]) for name in sorted(runs)]


def _trials(where: str, name: str, files: Files) -> Trials:
    """One run; `where` begins messages."""
    if _LABELS not in files:
        raise UserError(f"{where}/{_LABELS} is missing; {_WANTED}")
    training, test = (sorted(f for f in files if f.startswith(part)) for part in ("training/", "test/"))
    if len(training) < 2 or not test:
        raise UserError(
            f"{where} has {counted(len(training), 'picture')} in training and {len(test)} in test; {_WANTED}"
        )
    of_item: dict[str, str] = {}
    for number, line in enumerate(files[_LABELS]().decode("utf-8", "replace").splitlines(), 1):
        words = [word.removeprefix(f"{name}/") for word in line.split()]
        if not words:
            continue
        for word, part, known in zip(words, ("test", "training"), (test, training), strict=False):
            if word not in known:
                raise UserError(
                    f"{where}/{_LABELS}, line {number}: {one_line(word)[:100]} is no {part} file of the run"
                )
        if len(words) != 2 or of_item.setdefault(words[0], words[1]) != words[1]:
            raise UserError(
                f"{where}/{_LABELS}, line {number}: must be a test file and its only training file"
            )
    if missing := [item for item in test if item not in of_item]:
        raise UserError(f"{where}/{missing[0]}: has no line in {_LABELS}")
    pictures = {file: _picture(f"{where}/{file}", files[file]()) for file in (*training, *test)}
    return Trials(
        name,
        tuple(pictures[file] for file in training),
        tuple(pictures[file] for file in test),
        tuple(training.index(of_item[file]) for file in test),
    )


def _picture(where: str, content: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"it has {image.width:,} × {image.height:,} pixels")
            image.load()
            return image.copy()
    except Exception as error:  # a damaged file provokes anything
        raise UserError(f"{where}: is not a readable PNG file ({one_line(in_words(error))})") from None


@contextmanager
def _files(place: Path) -> "Iterator[Iterator[tuple[str, Callable[[], bytes]]]]":
    """Names of all files that may belong to runs, with `/`, and what reads each."""
    shown = one_line(place)
    if place.is_dir():
        found = (
            file for tops in ("", "*/") for file in sorted(place.glob(f"{tops}run*/**/*")) if file.is_file()
        )
        yield ((file.relative_to(place).as_posix(), partial(_read, file)) for file in found)
        return
    try:
        with zipfile.ZipFile(place) as archive:
            members = archive.infolist()
            if len(members) > _MOST_FILES:
                raise UserError(f"{shown}: holds {len(members):,} files, more than any archive of trials")
            yield ((one.filename, partial(_unpack, archive, one, shown)) for one in members)
    except FileNotFoundError:
        raise UserError(f"--trials: {shown} is not there; it is a zip file or a folder of runs") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{shown}: cannot be read as a zip file ({one_line(in_words(error))})") from None


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return _limited(stream.read(_MOST_BYTES + 1), one_line(file))


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shown: str) -> bytes:
    try:
        with archive.open(member) as stream:
            content = stream.read(_MOST_BYTES + 1)
    except (RuntimeError, EOFError, zlib.error, zipfile.BadZipFile) as error:  # the first: it has a password
        raise UserError(
            f"{shown}: {one_line(member.filename)} cannot be unpacked ({one_line(error)})"
        ) from None
    return _limited(content, f"{shown}: {one_line(member.filename)}")


def _limited(content: bytes, shown: str) -> bytes:
    if len(content) > _MOST_BYTES:
        raise UserError(f"{shown}: has more than {_MOST_BYTES:,} bytes, which no drawing of a trial has")
    return content
