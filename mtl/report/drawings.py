"""The figures of a report: in the page as inline SVG, and on demand as files."""

import re
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from mtl.report.cards import Limits
from mtl.report.contents import Drawing, Report
from mtl.report.figures.style import save, to_svg


class Drawings:
    """Turns figures into drawings of one page, and keeps them to be written as files."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}  # by name

    def add(self, name: str, figure: Figure | None, caption: str, alt: str) -> Drawing | None:
        """The figure as it stands in the page; None where there is none.

        Args:
            name: what it shows and of what; made unique and fit for a file's name.
            figure: as `mtl.report.figures` draws it.
            caption: stands below it.
            alt: what a person who does not see it should know.
        """
        if figure is None:
            return None
        stem = plain = slug(name)
        number = 2
        while stem in self.figures:
            stem, number = f"{plain}-{number}", number + 1
        self.figures[stem] = figure
        return Drawing(stem, to_svg(figure, stem), caption, alt)

    def write(self, folder: Path) -> list[Path]:
        """Each figure as <name>.png and <name>.svg.

        Raises:
            UserError: a file cannot be written.
        """
        for name, figure in self.figures.items():
            save(figure, folder / name)
        return [folder / f"{name}{kind}" for name in self.figures for kind in (".png", ".svg")]


def slug(name: str) -> str:
    """A name in lower case letters, digits and hyphens; never empty."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "figure"


_FEWER = "Of several runs each is shown with fewer tasks, classes, pairs and pictures than in its own report."
_NO_FIGURES = (
    "The figures of single phases and of the feature space are left out to keep the page small; the report "
    "of each run by itself has them, and --png writes them all."
)


def limits_for(runs: int) -> Limits:
    """How much of each of several runs is shown: half as much whenever their number doubles."""
    limits = Limits()
    for _ in range((runs - 1).bit_length()):
        limits = limits.smaller()
    return limits


def noted(report: Report) -> Report:
    """The report of several runs, saying that less is shown of each."""
    return replace(report, notes=(*report.notes, _FEWER)) if len(report.runs) > 1 else report


def without_figures(report: Report) -> Report:
    """The report with curves and comparisons alone for figures."""
    runs = [
        replace(
            run,
            phases=[
                replace(phase, confusion=None, boosting=None, extra=None, improvement=None)
                for phase in run.phases
            ],
            space=None,
        )
        for run in report.runs
    ]
    return replace(report, runs=runs, notes=(*report.notes, _NO_FIGURES))
