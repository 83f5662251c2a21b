"""What the log of a run says was hard, with the pictures of it; the run is only read."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from mtl.data import ImageSet
from mtl.errors import UserError, one_line
from mtl.ledger.neighbourhoods import hardest_neighbourhoods
from mtl.ledger.store import Ledger
from mtl.report.cards import (
    Encoded,
    Gallery,
    Limits,
    encoded,
    neighbourhood_cards,
    pair_cards,
    task_cards,
)
from mtl.report.contents import Thumbnail
from mtl.report.run_files import read_run
from mtl.report.write_report import Images, find_images

_LIMITS = Limits(shown=3, support=3, wrong=3)
_FIRST = "meta-train"  # the phase that is shown at first
_KEY = re.compile("hard-([0-9]{1,4})-([0-9]{1,12})")


class RunLog:
    """The hard-task log of a run, which may still be training. Not thread-safe.

    Args:
        folder: of the run.
        side: pixels; larger pictures are made smaller.
    """

    def __init__(self, folder: Path, side: int) -> None:
        self.folder, self.side = folder, side
        self.picture = lru_cache(4_000)(self._picture)

    @cached_property
    def images(self) -> Images:
        return find_images(read_run(self.folder))

    def view(self, phase: str = "") -> dict[str, Any]:
        """One phase as JSON: its hardest neighbourhoods or tasks, and its most confused pairs.

        Raises:
            UserError: the run has no log, its log no such phase, or a file of it is damaged.
        """
        run = read_run(self.folder)
        if not run.folder.ledger.exists():
            raise UserError(f"{one_line(self.folder)}: has no log of hard tasks; meta-training writes it")
        with Ledger.read(run.folder.ledger) as ledger:
            phases = {one.name: one for one in ledger.phases()}
            if not phases:
                raise UserError(f"{one_line(self.folder)}: its log of hard tasks holds no episodes yet")
            at = ledger.phase(phase) if phase else phases.get(_FIRST, next(iter(phases.values())))
            missing = [*self.images.missing]
            gallery = self.images.gallery(at, run, missing)
            if gallery.images is not None:
                gallery = _Served(gallery.images, self._splits.index(at.split))
            around = hardest_neighbourhoods(ledger, at.name, _LIMITS.tasks)
            return {
                "run": run.name,
                "phases": [*phases],
                "phase": at.name,
                "episodes": at.episodes,
                "notes": missing,
                "neighbourhoods": _json(neighbourhood_cards(around, gallery, _LIMITS)),
                "tasks": _json(task_cards(ledger, at.name, gallery, _LIMITS, around)),
                "pairs": _json(pair_cards(ledger, at.name, gallery, _LIMITS)),
            }

    @property
    def _splits(self) -> list[str]:
        return [*self.images.galleries]

    def _picture(self, key: str) -> Encoded:
        """One of the pictures that views name; KeyError where there is no such picture."""
        if (place := _KEY.fullmatch(key)) is None or int(place[1]) >= len(self._splits):
            raise KeyError(key)
        images, index = self.images.galleries[self._splits[int(place[1])]].images, int(place[2])
        if images is None or index >= len(images):
            raise KeyError(key)
        return encoded(images.images[index], self.side)


class _Served(Gallery):
    """Pictures by their addresses on the page."""

    def __init__(self, images: ImageSet, split: int) -> None:
        super().__init__(images)
        self.split = split

    def made(self, index: int, image: Tensor, alt: str) -> Thumbnail:
        return Thumbnail(f"picture/hard-{self.split}-{index}", image.shape[2], image.shape[1], alt)


def _json(cards: Sequence[Any]) -> list[dict[str, Any]]:
    return [asdict(card) for card in cards]
