import numpy as np
import pytest
import scipy.stats

from mtl.report.scores import class_changes, run_differences, setting_results
from mtl.stats import BY_TASK


def _setting(accuracy, recall, shot=1, **more):
    mean = float(np.mean(accuracy))
    one = {
        "name": "meta-trained (mtl)",
        "accuracy": mean,
        "interval": 0.01,
        "percentile_5": 0.2,
        "difference": None,
        "difference_interval": None,
        "class_recall": recall,
        "task_accuracy": list(accuracy),
    }
    base = {"set": None, "split": "test", "way": 5, "shot": shot, "queries": 15, "tasks": len(accuracy)}
    return {**base, "scores": [one], "resampled": None, "recall_intervals": BY_TASK, **more}


def _same(split):
    return None


RECALL = {"ant": (0.5, 0.4, 0.6), "bee": (0.9, 0.85, 0.95)}


def test_differences_on_the_same_tasks_are_paired():
    random = np.random.default_rng(0)
    a = random.uniform(size=200)
    b = a + random.normal(0.02, 0.05, 200)
    (found,) = run_differences([_setting(a, RECALL)], "b", [_setting(b, RECALL)], _same)
    test = scipy.stats.ttest_rel(b, a).confidence_interval(0.95)
    assert found.paired
    assert found.difference == pytest.approx(np.mean(b - a))
    assert found.difference + found.interval == pytest.approx(test.high)


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (_setting([0.6] * 40, RECALL), "40 tasks, not 50"),
        (_setting([0.6] * 50, RECALL, queries=5), "5 queries of a class, not 15"),
    ],
)
def test_differences_over_other_tasks_are_not_paired_and_say_why(later, reason):
    (found,) = run_differences([_setting([0.5] * 50, RECALL)], "b", [later], _same)
    assert (found.paired, found.unpaired) == (False, reason)
    assert (found.difference, found.interval) == (pytest.approx(0.1), pytest.approx(0.01 * 2**0.5))


def test_what_splits_were_drawn_from_is_asked_by_the_ledgers_name():
    asked: list[str] = []

    def unlike(split):
        asked.append(split)
        return "other images" if split == "val glyphs" else None

    settings = [_setting([0.5] * 5, RECALL), _setting([0.5] * 5, RECALL, split="val", set="glyphs")]
    found = run_differences(settings, "b", settings, unlike)
    assert asked == ["test", "val glyphs"]
    assert [d.unpaired for d in found] == [None, "other images"]


def test_only_settings_that_both_have_are_compared():
    a = [_setting([0.5, 0.6], RECALL, shot=1), _setting([0.5, 0.6], RECALL, shot=5)]
    b = [_setting([0.5, 0.6], RECALL, shot=5), _setting([0.5, 0.6], RECALL, shot=5, set="other")]
    assert [d.setting for d in run_differences(a, "b", b, _same)] == ["5-way 5-shot"]


def test_classes_are_ordered_by_what_they_gained_and_apart_by_intervals_that_do_not_meet():
    later = {"ant": (0.8, 0.7, 0.9), "bee": (0.88, 0.8, 0.93), "cow": (1.0, 0.9, 1.0)}
    found = class_changes([_setting([0.5], RECALL)], "b", [_setting([0.5], later)])
    assert [(c.name, c.before, c.after, c.apart) for c in found] == [
        ("ant", 0.5, 0.8, True),
        ("bee", 0.9, 0.88, False),
    ]


def test_of_many_classes_the_ends_are_kept():
    a = {f"c{i:02}": (0.5, 0.4, 0.6) for i in range(50)}
    b = {f"c{i:02}": ((i + 0.5) / 50, 0.0, 1.0) for i in range(50)}
    found = class_changes([_setting([0.5], a)], "b", [_setting([0.5], b)])
    assert [c.name for c in found] == [f"c{i:02}" for i in [*range(49, 34, -1), *range(14, -1, -1)]]


def test_what_became_of_the_worst_tasks_is_in_the_note():
    again = {
        "tasks": 40,
        "rounds": 10,
        "accuracy_picked": 0.5,
        "accuracy_fresh": 0.6,
        "verdicts": {"hard classes": 30, "unlucky support": 10},
        "control": 40,
        "control_first": 0.8,
        "control_fresh": 0.79,
    }
    (found,) = setting_results([_setting([0.5], RECALL, resampled=again)])
    assert "50.0 % when picked, 60.0 % with fresh images in 10 rounds (30 hard classes" in found.note
    assert "80.0 % at first, 79.0 %" in found.note
    alone = again | {"control_first": None, "control_fresh": None}
    assert "at first" not in setting_results([_setting([0.5], RECALL, resampled=alone)])[0].note


def test_no_class_that_lost_is_among_those_that_gained():
    a = {f"c{i:02}": (0.5, 0.4, 0.6) for i in range(50)}
    b = {f"c{i:02}": (0.51 if i == 7 else 0.5 if i == 8 else 0.4, 0.0, 1.0) for i in range(50)}
    found = class_changes([_setting([0.5], a)], "b", [_setting([0.5], b)])
    assert [c.name for c in found if c.after >= c.before] == ["c07"]
    assert len(found) == 16
