"""Picture files decoded in the background, in their order, a few at a time."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from mtl.data.decode import THREADS, decode
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


def decode_ahead(
    files: Sequence[Path], size: int, grayscale: bool, at_once: int = 32, ahead: int = 64
) -> Iterator[Decoded]:
    """The images of files, as `decode` makes them; a file that cannot be read stops nothing.

    No more than `at_once + ahead` decoded images are held, however many files there are.

    Args:
        files: in the order in which they come back.
        size, grayscale: as of `decode`.
        at_once: B, fewer in the last batch.
        ahead: how many files may be decoded or wait for it, beyond those of the batch.
    """
    images: list[Tensor] = []
    read: list[Path] = []
    unread: list[Unread] = []
    with ThreadPoolExecutor(THREADS) as pool:
        rest = iter(files)
        waiting = deque((file, pool.submit(decode, file, size, grayscale)) for file in islice(rest, ahead))
        try:
            while waiting:
                file, result = waiting.popleft()
                _take(file, result, read, images, unread)
                for after in islice(rest, 1):
                    waiting.append((after, pool.submit(decode, after, size, grayscale)))
                if len(read) + len(unread) == at_once or not waiting:
                    yield Decoded(tuple(read), _stacked(images, size, grayscale), tuple(unread))
                    read, images, unread = [], [], []
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _take(
    file: Path, result: Future[Tensor], read: list[Path], images: list[Tensor], unread: list[Unread]
) -> None:
    try:
        images.append(result.result())
        read.append(file)
    except UserError as error:
        unread.append(Unread(file, str(error)))


def _stacked(images: list[Tensor], size: int, grayscale: bool) -> Tensor:
    return (
        torch.stack(images)
        if images
        else torch.empty(0, 1 if grayscale else 3, size, size, dtype=torch.uint8)
    )
