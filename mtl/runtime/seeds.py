"""Random generators named by their purpose.

Nothing in this package draws from a global generator. A name gives the same stream however often the run was
stopped, and on any number of workers.
"""

import hashlib

import torch
from torch import Tensor


def derive_seed(seed: int, *path: int | str) -> int:
    """A 63-bit seed for the stream named by `path`, below the run's `seed`.

    Streams of different paths are independent: the path is hashed with BLAKE2b.
    """
    text = repr((int(seed), *(p if isinstance(p, str) else int(p) for p in path)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A fresh CPU generator for the stream named by `path`, e.g. `generator(0, "pretrain", epoch)`."""
    return torch.Generator().manual_seed(derive_seed(seed, *path))


class Draws:
    """Random numbers for the rows of a batch.

    Args:
        random: what they are drawn from.
        rows: (n,) of the rows that are here, of a batch of `count`; they get what they would get if all were.
            None: all are here.
        count: rows of the whole batch; 0 if all are here, in one piece.
    """

    def __init__(self, random: torch.Generator, rows: Tensor | None = None, count: int = 0) -> None:
        self.random, self.rows, self.count = random, rows, count
        self._normal, self._taken, self._start = torch.empty(0), 0, random.get_state()

    def rows_of_all(self, here: int) -> int:
        """Rows of the whole batch, of which so many are here."""
        return here if self.rows is None else self.count

    def here(self, numbers: Tensor) -> Tensor:
        """Those of the rows that are here, of numbers for the whole batch (count, ...)."""
        return numbers if self.rows is None else numbers[self.rows]

    def uniform(self, rows: int) -> Tensor:
        """(rows,) in [0, 1)."""
        return torch.rand(rows, generator=self.random)

    def rewind(self) -> None:
        """Begins with the first row again: the same numbers follow."""
        self.random.set_state(self._start)
        self._taken = 0

    def normal(self, shape: torch.Size) -> Tensor:
        """Of this shape (..., D), for the rows that follow those of the last call; 0 after the last row."""
        if not self.count:
            return torch.randn(shape, generator=self.random)
        if not self._taken:
            self._normal = self.here(torch.randn(self.count, shape[-1], generator=self.random))
        first, self._taken = self._taken, self._taken + shape[:-1].numel()
        part = self._normal[first : self._taken]
        return part.view(shape) if part.shape[0] == shape[:-1].numel() else torch.zeros(shape)
