"""What `predict` is asked, and where it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl.data.picture_files import PictureFiles, query_files, support_files
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

    Raises:
        UserError: a file cannot be written, is there already, or is a picture that is read; or there is no
            picture.
    """
    require_free(asked.out, _ENDINGS, asked.overwrite)
    for path in (asked.page, asked.sheet):
        require_free(path, (), asked.overwrite)
    pictures = query_files(asked.query)
    known = {} if asked.support is None else support_files(asked.support).files
    read = [*pictures.files, *(file for files in known.values() for file in files)]
    require_not_read((asked.out, asked.page, asked.sheet), read)
    return pictures
