"""Near copies: frames of a burst or a video, and pictures saved, cropped or mirrored again.

Two pictures are near copies if one can be laid over the other: of the details of one, 95.5 % (R²) are
explained by those of the other after a shift of up to a tenth of the side, a small turn and zoom, and
mirroring or not. Small movements are taken to first order, as in the tangent distance (Simard, LeCun and
Denker, NIPS 1993): a picture is regressed on the other one and its derivatives by shift, turn and zoom.

Of 20 pictures of a class that are really different, 1.5 % had a near copy among the others in glyphs and in
Omniglot, none in CIFAR-100. Of pictures that were turned by up to 6 degrees, zoomed by 10 %, shifted by 6 %
or mirrored, with noise or JPEG artefacts, 99 to 100 % were found; with all of it at once, 91 % in glyphs,
88 % in Omniglot and 64 % in CIFAR-100 at 32 pixels.

`Prints` recognise a picture later, when the picture itself is no longer available. `mtl.data.duplicates`
searches whole image sets instead, and finds copies that were not moved.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.data.duplicates import luma

SIDE = 28  # pixels of a thumbnail
EXPLAINED = 0.955  # R² from which two pictures are near copies
RESEMBLING = 0.85  # R² from which they may be: a closer comparison decides

_MARGIN = 3  # pixels that a picture may be shifted by
# degrees and zoom; a picture as it is comes first
_STARTS = ((0.0, 1.0), (5.0, 1.0), (-5.0, 1.0), (0.0, 1.07), (0.0, 1 / 1.07))
_STILL = ((0.0, 1.0),)
_PLAUSIBLE = 0.6  # R² at half the resolution, below which two pictures are not compared further
_UNSURE = 0.75  # R² from which the second picture is laid over the first as well
_FIXED = 0.5  # of the residual that pictures of other classes leave: see `_by_camera`
_REACH = 500  # pictures after it in its class that a picture is compared with
_AT_ONCE = 64
_BYTES = 16  # of a digest


def thumbnails(images: Tensor) -> Tensor:
    """What pictures are compared by: (B, 28, 28) uint8 grey from (B, 1 or 3, H, W) uint8."""
    small = F.interpolate(luma(images), (SIDE, SIDE), mode="bilinear", antialias=True)
    return small[:, 0].round().clamp(0, 255).to(torch.uint8)


#: What pictures of a class, by the digest of all of them, have in common: (earlier, later, R²) within it.
Compared = dict[bytes, list[tuple[int, int, float]]]


def near_copies(
    pictures: Tensor, labels: Tensor, least: float = EXPLAINED, compared: Compared | None = None
) -> list[tuple[int, int, float]]:
    """Pairs (earlier, later, R²) of near copies within a class.

    A picture without detail, such as a blank one, is not a near copy of any other.

    Args:
        pictures: (S, 28, 28) thumbnails.
        labels: (S,) the class of each.
        least: R² of a pair.
        compared: of earlier calls with the same `least`, so that only classes that changed are compared;
            it is extended.
    """
    pairs: list[tuple[int, int, float]] = []
    compared = {} if compared is None else compared
    detail = _detail(pictures)
    centred = _centred(detail)
    blank = pictures.flatten(1).amax(1) == 0
    for label in sorted(set(labels.tolist())):
        rows = ((labels == label) & ~blank).nonzero().flatten()
        key = hashlib.sha256(pictures[rows].numpy().tobytes()).digest()
        if key not in compared:
            compared[key] = []
            for first in range(0, len(rows), _AT_ONCE):
                ahead = list(range(first, min(first + _AT_ONCE + _REACH, len(rows))))
                count = min(_AT_ONCE, len(rows) - first)
                compared[key] += _pairs(detail[rows[ahead]], ahead, count, least)
        others = centred[(labels != label) & ~blank]
        wanted = dict[int, float]()
        for one, other, share in compared[key]:
            row = int(rows[one])
            if row not in wanted:
                wanted[row] = _by_camera(_bases(detail[row, None], _MARGIN, _STILL, (False,)), others)
            if share >= wanted[row]:
                pairs.append((row, int(rows[other]), share))
    return pairs


def at_rest(pictures: Tensor) -> Tensor:
    """(S, 1, P, 5): what `same_in_place` needs of thumbnails (S, 28, 28)."""
    return _bases(_detail(pictures), _MARGIN, _STILL, (False,))


def same_in_place(pictures: Tensor, others: Tensor) -> Tensor:
    """(B, S) bool: pictures that show what others show, at the same place: not turned, cropped or mirrored.

    Args:
        pictures: (B, 28, 28) thumbnails.
        others: of S thumbnails, by `at_rest`.
    """
    return _explained(others, _centred(_detail(pictures))).mT >= EXPLAINED


def _pairs(detail: Tensor, rows: list[int], count: int, least: float) -> Iterator[tuple[int, int, float]]:
    """Pairs of one of the first `count` pictures of `rows` and a later one."""
    small = F.avg_pool2d(detail, 2)
    rough = _explained(_bases(small[:count], 2, _STILL), _windows(small, 2))
    plausible = (rough >= _PLAUSIBLE).triu(1)
    kept = plausible.any(0)
    kept[:count] |= plausible.any(1)
    if not kept.any():
        return
    plausible = plausible[kept[:count]][:, kept]  # (C, M): the first C of M pictures, and each of them
    detail, rows = detail[kept], [row for row, keep in zip(rows, kept.tolist(), strict=True) if keep]
    first = len(plausible)
    bases, windows = _bases(detail[:first], _MARGIN, _STARTS), _windows(detail, _MARGIN)
    explained = torch.zeros(plausible.shape)
    for one, partners in enumerate(plausible):
        explained[one, partners] = _explained(bases[one, None], windows[partners])[0]
    unsure = (explained >= _UNSURE) & (explained < EXPLAINED)
    if unsure.any():  # the later one may be the one that shows more of what both show
        later = unsure.any(0).nonzero().flatten()
        for other, basis in zip(later.tolist(), _bases(detail[later], _MARGIN, _STARTS), strict=True):
            of = unsure[:, other]
            turned_round = _explained(basis[None], windows[:first][of])[0]
            explained[of, other] = torch.maximum(explained[of, other], turned_round)
    for one in (explained >= least).any(1).nonzero().flatten().tolist():
        for other, share in enumerate(explained[one].tolist()):
            if share >= least:
                yield rows[one], rows[other], share


def _by_camera(still: Tensor, others: Tensor) -> float:
    """The R² that near copies of a picture must have at least.

    A fixed camera shows different things before one background. Then pictures of other classes explain nearly
    as much as those of the same class, without being moved; near copies have to leave half of that residual
    or less.

    Args:
        still: (1, 1, P, 5) the basis of the picture as it is.
        others: (M, 1, P) the middle windows of the others.
    """
    if not len(others):
        return 0.0
    return 1 - _FIXED * (1 - float(_explained(still, others).max()))


def _detail(pictures: Tensor) -> Tensor:
    """(S, 1, 28, 28) float32: pictures without what varies slowly across them, such as brightness."""
    smooth = _blurred(pictures[:, None].float(), 1)
    return smooth - _blurred(smooth, 6)


def _blurred(pictures: Tensor, times: int) -> Tensor:
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (line[:, None] * line)[None, None]
    for _ in range(times):
        pictures = F.conv2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), kernel)
    return pictures


def _explained(bases: Tensor, windows: Tensor) -> Tensor:
    """(n, m) R²: the largest share of a window of each of m pictures in the span of a basis of each of n.

    Args:
        bases: (n, B, P, 5) with orthonormal columns.
        windows: (m, W, P) of length 1.
    """
    n, count, pixels, directions = bases.shape
    flat = bases.mT.reshape(-1, pixels) @ windows.reshape(-1, pixels).mT
    shares = flat.view(n, count, directions, *windows.shape[:2]).square().sum(2)
    return shares.amax((1, 3))


def _bases(
    detail: Tensor,
    margin: int,
    starts: tuple[tuple[float, float], ...],
    mirror: tuple[bool, ...] = (False, True),
) -> Tensor:
    """(n, B, P, 5): for each start an orthonormal basis of a picture's middle and its small movements."""
    bases = [_basis(detail, margin, turn, zoom, flip) for flip in mirror for turn, zoom in starts]
    return torch.stack(bases, 1)


def _basis(detail: Tensor, margin: int, turn: float, zoom: float, flip: bool) -> Tensor:
    """(n, P, 5) for one start."""

    def middle(dx: float = 0, dy: float = 0, more: float = 0, larger: float = 1) -> Tensor:
        moved = _moved(detail, turn + more, zoom * larger, dx, dy, flip)
        return moved[:, 0, margin:-margin, margin:-margin].flatten(1)

    step = 0.5 / detail.shape[-1]
    directions = [
        middle(),
        middle(dx=step) - middle(dx=-step),
        middle(dy=step) - middle(dy=-step),
        middle(more=2) - middle(more=-2),
        middle(larger=1.03) - middle(larger=1 / 1.03),
    ]
    columns = torch.stack(directions, -1)
    basis: Tensor = torch.linalg.qr(columns - columns.mean(1, keepdim=True))[0]
    return basis


def _moved(pictures: Tensor, turn: float, zoom: float, dx: float, dy: float, mirror: bool) -> Tensor:
    """Pictures mirrored, then turned by degrees, enlarged and shifted by shares of the side."""
    cos, sin = (f(math.radians(turn)) / zoom for f in (math.cos, math.sin))
    sign = -1.0 if mirror else 1.0
    across = torch.tensor([[sign * cos, -sign * sin, -2 * sign * dx], [sin, cos, -2 * dy]])
    grid = F.affine_grid(across[None], [1, *pictures.shape[1:]], align_corners=False)
    places = grid.expand(len(pictures), -1, -1, -1)
    return F.grid_sample(pictures, places, padding_mode="border", align_corners=False)


def _windows(detail: Tensor, margin: int) -> Tensor:
    """(m, W, P) of mean 0 and length 1: what a picture shows in windows moved by up to `margin`."""
    return _unit(F.unfold(detail, detail.shape[-1] - 2 * margin).mT).contiguous()


def _centred(detail: Tensor) -> Tensor:
    """(m, 1, P) of mean 0 and length 1: only the middle window."""
    return _unit(detail[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].flatten(2))


def _unit(windows: Tensor) -> Tensor:
    level = windows - windows.mean(-1, keepdim=True)
    length = level.norm(dim=-1, keepdim=True)
    return torch.where(
        length > 1, level / length.clamp_min(1), 0.0
    )  # shorter: grey levels that are only rounding


@dataclass(frozen=True, eq=False)
class Prints:
    """The fingerprints of S pictures; all zeros for an unknown picture.

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
        """From pixels (B, 1 or 3, H, W) uint8 as the network takes them."""
        if not len(images):
            return Prints.unknown(0)
        digests = [hashlib.blake2b(x.numpy().tobytes(), digest_size=_BYTES).digest() for x in images]
        numbers = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _BYTES)
        return Prints(torch.from_numpy(numbers.copy()), thumbnails(images))

    @staticmethod
    def unknown(count: int) -> "Prints":
        """Of `count` unknown pictures."""
        digests = torch.zeros(count, _BYTES, dtype=torch.uint8)
        return Prints(digests, torch.zeros(count, SIDE, SIDE, dtype=torch.uint8))

    @staticmethod
    def joined(parts: Sequence["Prints"]) -> "Prints":
        """All parts, one after the other."""
        parts = [Prints.unknown(0), *parts]
        return Prints(torch.cat([p.digests for p in parts]), torch.cat([p.thumbnails for p in parts]))

    def some(self, rows: Sequence[int]) -> "Prints":
        """Those of the pictures `rows`."""
        return Prints(self.digests[list(rows)], self.thumbnails[list(rows)])

    def known(self) -> Tensor:
        """(S,) bool: False for unknown pictures."""
        return self.digests.amax(1) > 0

    def keys(self) -> list[bytes]:
        """(S,) digests to look up; empty for unknown pictures."""
        each = zip(self.digests.tolist(), self.known().tolist(), strict=True)
        return [bytes(digest) if known else b"" for digest, known in each]


class SeenBefore:
    """Finds pictures that are among known ones: to the pixel, or nearly.

    Nearly means laid over a known one as they are: saved again, brighter, shifted by a pixel.
    """

    def __init__(self, known: Prints) -> None:
        self._keys = set(known.keys()) - {b""}
        self._known = at_rest(known.thumbnails[known.known()])

    def __call__(self, pictures: Prints) -> tuple[Tensor, Tensor]:
        """(B,) bool each: the same, nearly the same."""
        same = torch.tensor([key in self._keys for key in pictures.keys()], dtype=torch.bool)  # noqa: SIM118
        if not len(self._known) or not len(pictures):
            return same, torch.zeros_like(same)
        return same, same_in_place(pictures.thumbnails, self._known).any(1) & ~same
