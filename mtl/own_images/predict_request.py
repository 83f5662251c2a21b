"""What `predict` is asked, and where it writes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mtl.data.picture_files import PictureFiles, query_files, support_files
from mtl.errors import one_line
from mtl.runtime.outputs import require_free, require_not_read

_ENDINGS = (".csv", ".json")


@dataclass(frozen=True)
class Asked:
    """Either `run` and `support` are given, or `classifier`.

    Raises:
        ValueError: neither, or both.
    """

    query: Sequence[str]  # folders, patterns, files
    run: Path | None = None
    support: Path | None = None
    classifier: Path | None = None
    out: Path = Path("predictions.csv")  # or .json; .html and .png are written beside it
    open_set: bool = False  # whether a picture may be of none of the classes
    overwrite: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        given = {self.run is not None, self.support is not None, self.classifier is None}
        if len(given) > 1:
            raise ValueError("a run and a support folder are needed, or a classifier")

    @property
    def page(self) -> Path:
        return self.out.with_suffix(".html")

    @property
    def sheet(self) -> Path:
        return self.out.with_suffix(".png")

    @property
    def of(self) -> str:
        """The classifier, in words."""
        return (
            str(self.classifier) if self.classifier is not None else f"{self.run}, fitted to {self.support}"
        )


def pictures_asked(asked: Asked) -> PictureFiles:
    """The pictures that are to be answered, when it is sure that the answers can be written.

    The contact sheet of a former run that is replaced is none of them.

    Raises:
        UserError: a file cannot be written, is there already, or is a picture that is read; or there is no
            picture.
    """
    require_free(asked.out, _ENDINGS, asked.overwrite)
    for path in (asked.page, asked.sheet):
        require_free(path, (), asked.overwrite)
    pictures = _but_the_former_sheet(query_files(asked.query), asked)
    known = {} if asked.support is None else support_files(asked.support).files
    read = [*pictures.files, *(file for files in known.values() for file in files)]
    require_not_read((asked.out, asked.page, asked.sheet), read)
    return pictures


def _but_the_former_sheet(pictures: PictureFiles, asked: Asked) -> PictureFiles:
    """Leaves out what lies where the contact sheet goes, if table and page are there too: a run wrote it.

    By itself it may be a picture of the person's own, which is not to be written over.
    """
    sheet = os.path.realpath(asked.sheet)
    others = tuple(file for file in pictures.files if os.path.realpath(file) != sheet)
    former = asked.out.is_file() and asked.page.is_file()
    if not former or len(others) in (0, len(pictures.files)):
        return pictures
    told = f"{one_line(asked.sheet)}: is the contact sheet of a former run, which this one replaces"
    return replace(pictures, files=others, left_out=(*pictures.left_out, told))
