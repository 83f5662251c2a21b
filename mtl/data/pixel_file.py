"""Decoded images on disk: raw pixels, one image after the other, mapped into memory instead of read.

A file is written in blocks. The log beside it has a line for each: how many images, their CRC-32, and a note
of the writer. Whatever ends the process, the blocks whose checksum is right are whole, and writing goes on
after them. Once the file is complete, the log's figures belong to whoever opens it, and the log can go.
"""

import json
import mmap
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mtl.config import Log
from mtl.runtime.progress import Count
from mtl.runtime.tensor_files import Damaged

Shape = tuple[int, int, int]  # channels, height, width
_BLOCK = 2**20  # bytes: what a kill can lose for each thread that decodes, and what is checked at once
_NORESERVE = 0x4000 if os.name == "posix" and os.uname().sysname == "Linux" else 0


def images_a_block(shape: Shape) -> int:
    """How many images of a shape are written at once."""
    return max(1, _BLOCK // int(np.prod(shape)))


@dataclass(frozen=True)
class Block:
    """Images that were written at once."""

    images: int
    checksum: int  # CRC-32 of their pixels
    note: Any = None  # plain containers: what the writer has to remember of them


class _Pixels:
    """What was written so far."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.blocks: list[Block] = []
        self.counts = torch.zeros(shape[0], 256, dtype=torch.int64)  # how often each channel has each value

    def append(self, pixels: NDArray[np.uint8] | Tensor, note: Any = None) -> None:
        """Adds images (n, channels, height, width), n of any size."""
        data = np.ascontiguousarray(pixels)
        self._add(Block(len(data), zlib.crc32(data.data), note), data)

    def close(self) -> None:
        """Nothing more is written."""

    def _add(self, block: Block, pixels: NDArray[np.uint8]) -> None:
        self.blocks.append(block)
        for c in range(self.shape[0] if len(pixels) else 0):  # on one thread: others decode
            plane = np.ascontiguousarray(pixels[:, c]).reshape(-1, self.shape[-1])
            self.counts[c] += torch.tensor(Image.fromarray(plane).histogram())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PixelsInMemory(_Pixels):
    """The same where there is no file: room for `most` images."""

    def __init__(self, most: int, shape: Shape) -> None:
        super().__init__(shape)
        self._room = torch.empty(most, *shape, dtype=torch.uint8)
        self.images = self._room[:0]  # (M, channels, height, width)

    def append(self, pixels: NDArray[np.uint8] | Tensor, note: Any = None) -> None:
        super().append(pixels, note)
        first = len(self.images)
        self.images = self._room[: first + len(pixels)]
        self.images[first:] = torch.as_tensor(pixels)


class PixelWriter(_Pixels):
    """Writes the pixels of a set to `path`; `blocks` are those that an earlier process left whole.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, shape: Shape, resume: bool = True) -> None:
        super().__init__(shape)
        self.path = path
        log = log_of(path)
        whole = 0
        if resume and log.exists() and path.exists():
            whole = self._take_over()
        else:
            path.unlink(missing_ok=True)  # who has it mapped keeps the old file
            log.unlink(missing_ok=True)
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(whole)
        self._file.seek(whole)
        self._log = log.open("w", encoding="utf-8")
        for block in self.blocks:
            self._note(block)

    def append(self, pixels: NDArray[np.uint8] | Tensor, note: Any = None) -> None:
        self._file.write(np.ascontiguousarray(pixels).data)
        self._file.flush()  # before the line that speaks of it
        super().append(pixels, note)
        self._note(self.blocks[-1])

    def close(self) -> None:
        """Waits until all of it is on the disk."""
        with self._file, self._log:
            for file in (self._file, self._log):
                file.flush()
                os.fsync(file.fileno())

    def _note(self, block: Block) -> None:
        self._log.write(json.dumps([block.images, block.checksum, block.note]) + "\n")
        self._log.flush()

    def _take_over(self) -> int:
        """The blocks that are whole, counted; returns their bytes."""
        whole = 0
        with self.path.open("rb") as file:
            for block in blocks_of(self.path):
                data = bytearray(file.read(block.images * int(np.prod(self.shape))))
                if zlib.crc32(data) != block.checksum:
                    break
                self._add(block, np.frombuffer(data, dtype=np.uint8).reshape(-1, *self.shape))
                whole += len(data)
        return whole


def log_of(path: Path) -> Path:
    """The log beside a file of pixels."""
    return path.with_suffix(".log")


def blocks_of(path: Path) -> list[Block]:
    """The blocks that the log of a file names, up to the first line that was cut off; none without a log."""
    blocks = []
    with suppress(OSError, ValueError, TypeError), log_of(path).open(encoding="utf-8") as lines:
        for line in lines:
            blocks.append(Block(*json.loads(line)))
    return blocks


def check(path: Path, shape: Shape, blocks: Sequence[tuple[int, int]], log: Log | None = None) -> None:
    """Compares the checksum of every block (images, CRC-32), on all cores: 27 GB take 4 s if they are cached.

    Raises:
        OSError: the file cannot be read.
        Damaged: it is not as it was written.
    """
    each = int(np.prod(shape))
    ends = np.cumsum([0, *(images * each for images, _ in blocks)]).tolist()
    if path.stat().st_size != ends[-1]:
        raise Damaged(f"{path.name} has another length")
    with path.open("rb") as file, ThreadPoolExecutor() as pool, Count("checking", ends[-1], log) as count:

        def wrong(number: int) -> bool:
            start, end = ends[number : number + 2]
            return zlib.crc32(os.pread(file.fileno(), end - start, start)) != blocks[number][1]

        try:
            for number, bad in enumerate(pool.map(wrong, range(len(blocks)))):
                if bad:
                    raise Damaged(f"block {number} of {path.name} has another checksum")
                count.add(ends[number + 1] - ends[number])
        finally:
            pool.shutdown(cancel_futures=True)


def mapped(path: Path, shape: Shape) -> Tensor:
    """(M, channels, height, width) uint8 whose pages are read when they are touched, and never written back.

    A private mapping that reserves no memory: the system would refuse one that is larger than its memory.
    """
    size = path.stat().st_size
    if not size:
        return torch.empty(0, *shape, dtype=torch.uint8)
    with path.open("rb") as file:
        if hasattr(mmap, "MAP_PRIVATE"):
            flags, access = mmap.MAP_PRIVATE | _NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
            memory = mmap.mmap(file.fileno(), size, flags=flags, prot=access)
        else:  # Windows
            memory = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
    return torch.frombuffer(memory, dtype=torch.uint8).view(-1, *shape)
