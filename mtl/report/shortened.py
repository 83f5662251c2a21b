"""A report that would be too large a page: with fewer things in it, and saying so."""

from dataclasses import replace

from mtl.report.cards import Limits
from mtl.report.contents import Report

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
