"""Keys that do not fit together: a sentence for each, and none for what is allowed."""

import pytest

from mtl.config import read_config
from mtl.config.checks import misfits
from mtl.errors import UserError

TWO = {"name": "several", "sets": ["omniglot", "glyphs"]}


def _told(tree):
    with pytest.raises(UserError) as caught:
        read_config(tree, "here")
    return [line.strip() for line in str(caught.value).split("\n")[1:]]


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (
            {"data": {"name": "omniglot", "sets": ["glyphs"]}},
            "data.sets: is for data.name = several, not omniglot",
        ),
        *(
            (
                {"data": {"name": "several", "sets": sets}},
                "data.sets: needs two image sets or more, all different, as in [glyphs, omniglot]",
            )
            for sets in ([], ["glyphs"], ["glyphs", "glyphs"], ["glyphs", "omniglot", "glyphs"])
        ),
        ({"evaluate": {"sets": ["glyphs", "glyphs"]}}, "evaluate.sets: names an image set twice"),
        (
            {
                "data": TWO,
                "pretrain": {"sets": {"schedule": "proportional", "samples": [8, 24]}, "batch_size": 32},
            },
            "pretrain.sets.schedule: proportional, but with pretrain.sets.samples every batch is of all "
            "sets; leave one of the two out",
        ),
        (
            {"data": TWO, "pretrain": {"sets": {"samples": [8, 8, 16]}, "batch_size": 32}},
            "pretrain.sets.samples: 3 numbers for 2 sets",
        ),
        (
            {"data": TWO, "pretrain": {"sets": {"samples": [8, 16]}, "batch_size": 32}},
            "pretrain.sets.samples: make 24 images, but pretrain.batch_size is 32",
        ),
        (
            {"data": TWO, "pretrain": {"balance": {"by": "sampling", "start": 0.5}}},
            "pretrain.balance.start: small sets go through their images several times an epoch, so that "
            "sampling cannot be put off for several sets; leave it at 0, or take weights or logits",
        ),
        (
            {"pretrain": {"sets": {"samples": [64, 64]}}},
            "pretrain.sets.samples: is for data.name = several, not glyphs",
        ),
    ],
)
def test_several_sets_that_do_not_fit_are_told(tree, sentence):
    assert _told(tree) == [sentence]


@pytest.mark.parametrize(
    "tree",
    [
        {"data": TWO},
        {"data": TWO, "pretrain": {"sets": {"samples": [8, 24]}, "batch_size": 32}},
        {"data": TWO, "pretrain": {"sets": {"schedule": "temperature"}}},
        {"data": TWO, "pretrain": {"label_smoothing": 0.1}},
        {"data": {"name": "omniglot"}, "pretrain": {"label_smoothing": 0.1}},
        {"data": {"name": "omniglot"}, "evaluate": {"sets": ["glyphs", "omniglot"]}},
    ],
)
def test_several_sets_that_fit_are_taken(tree):
    assert misfits(read_config(tree, "here")) == []


@pytest.mark.parametrize("balance", ["sampling", "logits"])
def test_the_size_of_classes_is_corrected_for_once(balance):
    both = {"balance": {"by": balance}, "examples": {"by": "influence"}}
    (told,) = _told({"pretrain": both})
    assert told == (
        f"pretrain.balance.by: {balance}, but pretrain.examples.by = influence corrects for the size of "
        "classes as well; beside it none and weights are allowed"
    )
    read_config({"pretrain": {**both, "balance": {"by": "weights"}}}, "here")
    read_config({"pretrain": {**both, "examples": {"by": "focal"}}}, "here")


def test_smoothed_labels_and_adjusted_logits_are_one_or_the_other():
    (told,) = _told({"pretrain": {"balance": {"by": "logits"}, "label_smoothing": 0.1}})
    assert told.startswith("pretrain.label_smoothing: does not go with adjusted logits")
    read_config({"pretrain": {"balance": {"by": "weights"}, "label_smoothing": 0.1}}, "here")


@pytest.mark.parametrize("section", ["pretrain", "meta"])
def test_of_the_hardest_some_must_be_left(section):
    """Else the loss itself refuses, with a traceback."""
    for cap in (0.5, 0.7):
        (told,) = _told({section: {"examples": {"by": "hardest", "part": 0.5, "cap": cap}}})
        assert told == (
            f"{section}.examples.cap: leaves out {cap} at the top, which is all of the hardest part = 0.5; "
            "it must be smaller"
        )
    read_config({section: {"examples": {"by": "hardest", "part": 0.5, "cap": 0.4}}}, "here")
    read_config({section: {"examples": {"by": "focal", "part": 0.5, "cap": 0.7}}}, "here")


@pytest.mark.parametrize(
    "examples",
    [
        {"by": "influence"},
        {"by": "self_paced"},
        {"by": "hardest", "scope": "class"},
        {"by": "hardest", "scope": "memory"},
        {"by": "focal", "start": 0.5},
    ],
)
def test_queries_of_episodes_have_fewer_choices(examples):
    (told,) = _told({"meta": {"examples": examples}})
    assert told == (
        "meta.examples: for queries of episodes by may be all, focal, hardest, with scope = batch and "
        "start = 0"
    )
    read_config({"pretrain": {"examples": examples}}, "here")


def test_all_that_does_not_fit_is_told_at_once():
    told = _told(
        {
            "data": {"sets": ["omniglot"]},
            "evaluate": {"sets": ["glyphs", "glyphs"]},
            "hard_tasks": {"warm_up": 0.8, "fade": 0.8},
            "backbone": {"name": "torchvision.resnet18"},
            "meta": {"head": {"levels": 2}, "examples": {"by": "influence"}},
        }
    )
    assert sorted(s.split(":")[0] for s in told) == [
        "data.sets",
        "evaluate.sets",
        "hard_tasks.warm_up and hard_tasks.fade",
        "meta.examples",
        "meta.head.levels",
    ]


@pytest.mark.parametrize("key", ["balance", "examples"])
def test_two_corrections_at_one_level_are_refused(key):
    two = {"balance": ["sampling", "weights"], "examples": ["focal", "hardest"]}[key]
    (told,) = _told({"pretrain": {key: {"by": two}}})
    assert told.startswith(f"pretrain.{key}.by: {two!r} is not allowed; allowed are ")
    assert told.endswith("one of them, they do not go together")
