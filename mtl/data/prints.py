"""What a picture is recognised by later, when the picture itself is not there any more."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtl.data.near_copies import SIDE, at_rest, lies_over, thumbnails

_BYTES = 16  # of a digest


@dataclass(frozen=True, eq=False)
class Prints:
    """The fingerprints of S pictures; all zeros for a picture of which nothing is known.

    Raises:
        ValueError: the parts do not fit each other.
    """

    digests: Tensor  # (S, 16) uint8: of the decoded pixels
    thumbnails: Tensor  # (S, 28, 28) uint8, grey

    def __post_init__(self) -> None:
        count = len(self.digests)
        if self.digests.shape != (count, _BYTES) or self.thumbnails.shape != (count, SIDE, SIDE):
            raise ValueError("digests (S, 16) and thumbnails (S, 28, 28) are needed")
        if self.digests.dtype != torch.uint8 or self.thumbnails.dtype != torch.uint8:
            raise ValueError("digests and thumbnails must be uint8")

    def __len__(self) -> int:
        return len(self.digests)

    @staticmethod
    def of(images: Tensor) -> "Prints":
        """From pixels (B, 1 or 3, H, W) uint8 as they come to the network."""
        if not len(images):
            return Prints.unknown(0)
        digests = [hashlib.blake2b(x.numpy().tobytes(), digest_size=_BYTES).digest() for x in images]
        numbers = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _BYTES)
        return Prints(torch.from_numpy(numbers.copy()), thumbnails(images))

    @staticmethod
    def unknown(count: int) -> "Prints":
        """Of pictures of which nothing is known."""
        digests = torch.zeros(count, _BYTES, dtype=torch.uint8)
        return Prints(digests, torch.zeros(count, SIDE, SIDE, dtype=torch.uint8))

    @staticmethod
    def joined(parts: Sequence["Prints"]) -> "Prints":
        """One after the other."""
        parts = [Prints.unknown(0), *parts]
        return Prints(torch.cat([p.digests for p in parts]), torch.cat([p.thumbnails for p in parts]))

    def some(self, rows: Sequence[int]) -> "Prints":
        """Those of the pictures `rows`."""
        return Prints(self.digests[list(rows)], self.thumbnails[list(rows)])

    def known(self) -> Tensor:
        """(S,) bool: of which pictures something is known."""
        return self.digests.amax(1) > 0

    def keys(self) -> list[bytes]:
        """(S,) digests as they can be looked up; empty where nothing is known."""
        each = zip(self.digests.tolist(), self.known().tolist(), strict=True)
        return [bytes(digest) if known else b"" for digest, known in each]


class SeenBefore:
    """Tells which pictures are among known ones: to the pixel, and nearly.

    Nearly are those that lie over a known one as they are: saved again, brighter, shifted by a pixel.
    """

    def __init__(self, known: Prints) -> None:
        self._keys = set(known.keys()) - {b""}
        self._known = at_rest(known.thumbnails[known.known()])

    def __call__(self, pictures: Prints) -> tuple[Tensor, Tensor]:
        """(B,) bool each: the same, and nearly the same."""
        same = torch.tensor([key in self._keys for key in pictures.keys()], dtype=torch.bool)  # noqa: SIM118
        if not len(self._known) or not len(pictures):
            return same, torch.zeros_like(same)
        return same, lies_over(pictures.thumbnails, self._known).any(1) & ~same
