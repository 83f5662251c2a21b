"""Picture files decoded in the background, in their order, a few at a time."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from mtl.data.decode import THREADS
from mtl.data.ink import Ink
from mtl.data.levels import FULL
from mtl.data.own_picture import Change, own_picture
from mtl.errors import UserError


@dataclass(frozen=True)
class Unread:
    """A file that is no readable picture."""

    file: Path
    why: str  # a sentence, which names the file


@dataclass(frozen=True, eq=False)
class Decoded:
    """The next files of a list."""

    files: tuple[Path, ...]
    images: Tensor  # (B, channels, size, size) uint8: an image for each of `files`
    unread: tuple[Unread, ...]  # files between them that could not be read
    changes: tuple[Change, ...] = ()  # of each image


def decode_ahead(
    files: Sequence[Path],
    size: int,
    grayscale: bool,
    at_once: int = 32,
    ahead: int = 64,
    ink: Ink | None = None,
    top: int = FULL,
) -> Iterator[Decoded]:
    """The images of files, as `own_picture` makes them; a file that cannot be read stops nothing.

    No more than `at_once + ahead` decoded images are held, however many files there are.

    Args:
        files: in the order in which they come back.
        size, grayscale, ink, top: as of `own_picture`.
        at_once: B, fewer in the last batch.
        ahead: how many files may be decoded or wait for it, beyond those of the batch.
    """
    images: list[Tensor] = []
    read: list[Path] = []
    changes: list[Change] = []
    unread: list[Unread] = []
    with ThreadPoolExecutor(THREADS) as pool:
        rest = iter(files)

        def begun(file: Path) -> tuple[Path, Future[tuple[Tensor, Change]]]:
            return file, pool.submit(own_picture, file, size, grayscale, ink, top)

        waiting = deque(begun(file) for file in islice(rest, ahead))
        try:
            while waiting:
                file, result = waiting.popleft()
                try:
                    image, change = result.result()
                except UserError as error:
                    unread.append(Unread(file, str(error)))
                else:
                    images.append(image)
                    changes.append(change)
                    read.append(file)
                waiting.extend(begun(after) for after in islice(rest, 1))
                if len(read) + len(unread) == at_once or not waiting:
                    stacked = _stacked(images, size, grayscale)
                    yield Decoded(tuple(read), stacked, tuple(unread), tuple(changes))
                    read, images, unread, changes = [], [], [], []
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _stacked(images: list[Tensor], size: int, grayscale: bool) -> Tensor:
    return (
        torch.stack(images)
        if images
        else torch.empty(0, 1 if grayscale else 3, size, size, dtype=torch.uint8)
    )
