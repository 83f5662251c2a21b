"""Tasks within one group: which groups and classes are drawn, and that the stages ask for them."""

import dataclasses
import itertools
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from mtl.data import ImageSet, Splits, require_group
from mtl.episodes.categories import grouped_episodes, large_groups
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.errors import UserError
from mtl.evaluation.evaluate import evaluate
from mtl.training import meta_train as stage_meta_train
from mtl.training import run_data as stage_material
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data
from mtl.training.solve import solve_episodes

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always

#: 20 classes: 9 of group c, 5 of a, 4 of d, 2 of b, which are mixed.
GROUPS = tuple("cacdcacbdcacadccbdac")


def test_groups_that_are_large_enough_are_found_by_name():
    assert Counter(GROUPS) == {"c": 9, "a": 5, "d": 4, "b": 2}
    found = large_groups(GROUPS, 4)
    assert [{GROUPS[c] for c in members.tolist()} for members in found] == [{"a"}, {"c"}, {"d"}]
    assert [len(members) for members in found] == [GROUPS.count(name) for name in "acd"]
    assert [len(large_groups(GROUPS, way)) for way in (2, 3, 5, 9, 10)] == [4, 3, 2, 1, 0]


def test_all_classes_of_a_task_are_of_one_group_that_is_large_enough(index, labels):
    batch = grouped_episodes(index, GROUPS, EpisodeShape(4, 2, 5), 300, 0)
    assert (batch.support.shape, batch.query.shape) == ((300, 4, 2), (300, 4, 5))
    assert batch.origin == ("within group",) * 300
    assert batch.index == tuple(range(300))
    for task in batch.classes.tolist():
        assert len(set(task)) == 4
        assert len({GROUPS[c] for c in task}) == 1
    assert {GROUPS[c] for c in batch.classes.unique().tolist()} == set("acd")
    assert (labels(20, 12)[batch.support] == batch.classes[..., None]).all()
    assert (labels(20, 12)[batch.query] == batch.classes[..., None]).all()
    assert all(len(set(images)) == 28 for images in batch.image_indices().tolist())


def test_every_group_comes_equally_often_whatever_its_size(index):
    batch = grouped_episodes(index, GROUPS, EpisodeShape(4, 1, 1), 3000, 1)
    counts = Counter(GROUPS[c] for c in batch.classes[:, 0].tolist())
    assert chisquare([counts[name] for name in "acd"]).pvalue > P_VALUE


def test_every_set_of_classes_of_a_group_is_equally_likely_and_in_every_order():
    groups = ("x", "y", "x", "y", "x", "x", "y", "z")
    index = ClassIndex.of(torch.arange(8 * 3) % 8)
    batch = grouped_episodes(index, groups, EpisodeShape(2, 1, 1), 6000, 2)
    drawn = Counter(map(tuple, batch.classes.tolist()))
    for members in ((0, 2, 4, 5), (1, 3, 6)):
        orders = list(itertools.permutations(members, 2))
        assert chisquare([drawn[order] for order in orders]).pvalue > P_VALUE
    assert sum(drawn.values()) == 6000
    assert 7 not in batch.classes


def test_every_image_of_a_class_is_equally_likely_in_support_and_query(index):
    batch = grouped_episodes(index, GROUPS, EpisodeShape(4, 1, 2), 3000, 3)
    for images in (batch.support, batch.query):
        place = images // 20  # image i of class c is number 20 i + c
        assert chisquare(torch.bincount(place.flatten(), minlength=12)).pvalue > P_VALUE


def test_the_episodes_follow_from_the_arguments_alone(index, assert_same):
    first = grouped_episodes(index, GROUPS, EpisodeShape(4, 1, 3), 20, 4)
    torch.rand(7)
    assert_same(grouped_episodes(index, list(GROUPS), EpisodeShape(4, 1, 3), 20, 4), first)
    assert not torch.equal(
        grouped_episodes(index, GROUPS, EpisodeShape(4, 1, 3), 20, 5).classes, first.classes
    )


def test_a_group_of_just_n_classes_gives_all_of_them(index):
    groups = ("one",) * 5 + tuple(f"alone {c}" for c in range(15))
    batch = grouped_episodes(index, groups, EpisodeShape(5, 1, 1), 9, 0)
    assert all(sorted(task) == [0, 1, 2, 3, 4] for task in batch.classes.tolist())


def test_no_group_of_n_classes_is_an_error(index):
    with pytest.raises(ValueError, match="no group has 10 classes"):
        grouped_episodes(index, GROUPS, EpisodeShape(10, 1, 1), 3, 0)


def _images(groups):
    count = 5 if groups is None else len(groups)
    names = tuple(f"class {c:02d}" for c in range(count))
    return ImageSet(torch.zeros(count, 1, 4, 4, dtype=torch.uint8), torch.arange(count), names, groups)


def test_a_set_with_a_group_that_is_just_large_enough_passes():
    require_group(_images(("a", "b", "a", "b", "a")), "test", 3, "evaluate.within_group")


def test_a_set_without_groups_is_told_with_those_that_have_some():
    with pytest.raises(UserError) as caught:
        require_group(_images(None), "test", 2, "evaluate.within_group")
    told = str(caught.value)
    assert told.startswith("evaluate.within_group: the classes of this image set are in no groups; ")
    assert all(name in told for name in ("Omniglot", "glyphs", "CIFAR-FS", "FC100"))
    assert "\n" not in told


def test_groups_that_are_all_too_small_are_told_with_the_largest():
    with pytest.raises(UserError) as caught:
        require_group(_images(("a", "b", "b", "a", "b")), "val", 4, "meta.validate_within_group")
    assert str(caught.value) == (
        "meta.validate_within_group: 4 ways, but the largest group of the val split, b, has 3 classes"
    )


#: Of the 6 test and the 5 validation classes of the tiny set.
TEST_GROUPS, VAL_GROUPS = ("a", "b", "a", "b", "a", "c"), ("x", "y", "x", "x", "y")


@pytest.fixture
def in_groups(tiny, monkeypatch):
    """The tiny image set with groups, wherever it is loaded."""
    plain = stage_material.load_splits

    def load(config, seed, log=None):
        splits = plain(config, seed)
        val, test = (
            dataclasses.replace(images, groups=groups)
            for images, groups in ((splits.val, VAL_GROUPS), (splits.test, TEST_GROUPS))
        )
        return Splits(splits.train, val, test, splits.name)

    monkeypatch.setattr(stage_material, "load_splits", load)
    return tiny


def test_evaluation_within_groups_scores_the_large_groups_alone(in_groups):
    config = in_groups(evaluate={"within_group": True, "settings": [[3, 1], [3, 2]]})
    pretrain(config)
    for setting in evaluate(config):
        assert set(setting.scores[0].class_recall) == {"test 00", "test 02", "test 04"}
        assert all(len(score.task_accuracy) == 30 for score in setting.scores)


def test_evaluation_across_groups_scores_all_classes(in_groups):
    config = in_groups(evaluate={"settings": [[3, 1]]})
    pretrain(config)
    assert len(evaluate(config)[0].scores[0].class_recall) == 6


def test_fixed_tasks_within_groups_are_the_same_at_every_call_and_other_for_other_purposes(
    in_groups, assert_same
):
    run_data = load_run_data(in_groups())
    one, again, other = (
        run_data.fixed_episodes("test", EpisodeShape(2, 1, 4), 20, 0, purpose, True)
        for purpose in ("evaluate", "evaluate", "compare")
    )
    assert_same(one, again)
    assert not torch.equal(one.image_indices(), other.image_indices())
    assert all(len({TEST_GROUPS[c] for c in task}) == 1 for task in one.classes.tolist())


def test_validation_within_groups_chooses_by_such_tasks(in_groups, monkeypatch):
    seen = []

    def spied(learner, pictures, episodes):
        seen.append(episodes)
        return solve_episodes(learner, pictures, episodes)

    monkeypatch.setattr(stage_meta_train, "solve_episodes", spied)
    config = in_groups(meta={"validate_within_group": True}, hard_tasks={"sampler": "uniform"})
    pretrain(config)
    meta_train(config)
    assert len(seen) == 3  # before the first step, after 4 and after 8
    assert all({frozenset(task) for task in e.classes.tolist()} == {frozenset({0, 2, 3})} for e in seen)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"evaluate": {"within_group": True, "settings": [[4, 1]]}},
            "evaluate.within_group: 4 ways, but the largest group of the test split, a, has 3 classes",
        ),
        (
            {"meta": {"validate_within_group": True, "way": 4}},
            "meta.validate_within_group: 4 ways, but the largest group of the val split, x, has 3 classes",
        ),
    ],
    ids=str,
)
def test_groups_that_are_too_small_are_told_before_any_training(in_groups, sections, words):
    with pytest.raises(UserError) as caught:
        load_run_data(in_groups(**sections))
    assert str(caught.value) == words


@pytest.mark.parametrize(
    "sections", [{"evaluate": {"within_group": True}}, {"meta": {"validate_within_group": True}}], ids=str
)
def test_a_set_without_groups_is_told_before_any_training(tiny, sections):
    with pytest.raises(UserError, match="within_group: the classes of this image set are in no groups"):
        load_run_data(tiny(**sections))
