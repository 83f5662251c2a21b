"""Reports of several runs, and those that would be too large."""

import dataclasses

from mtl.report.cards import Limits
from mtl.report.drawings import limits_for, noted, without_figures


def test_of_more_runs_less_is_shown_of_each():
    once = Limits().smaller()
    twice = once.smaller()
    assert [limits_for(n) for n in (1, 2, 3, 4, 5)] == [Limits(), once, twice, twice, twice.smaller()]


def test_only_a_report_of_several_runs_says_that_each_is_brief(full_report):
    assert len(noted(full_report).notes) == len(full_report.notes) + 1
    one = dataclasses.replace(full_report, runs=full_report.runs[:1])
    assert noted(one) == one


def test_curves_and_comparisons_are_the_figures_that_stay(full_report):
    small = without_figures(full_report)
    for run, whole in zip(small.runs, full_report.runs, strict=True):
        assert run.space is None
        assert run.curves == whole.curves
        for phase, all_ in zip(run.phases, whole.phases, strict=True):
            assert (phase.confusion, phase.boosting, phase.extra, phase.improvement) == (None,) * 4
            assert (phase.tasks, phase.classes, phase.pairs) == (all_.tasks, all_.classes, all_.pairs)
            assert phase.improvement_told == all_.improvement_told
    assert small.comparison == full_report.comparison
    assert len(small.notes) == len(full_report.notes) + 1
