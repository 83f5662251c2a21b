"""Keys that do not fit together: a sentence for each, and none for what is allowed."""

import pytest
from config_mistakes import mistake, mistakes

from mtl.config import load_config, read_config

TWO = {"name": "several", "sets": ["omniglot", "glyphs"]}
OWN = {
    "classes": {"val": ["dog*"]},
    "min_images": 2,
    "max_images": 9,
    "group_by": "^(clip[0-9]+)_",
    "duplicates": "drop",
    "unreadable": "skip",
    "levels": "full",
}


@pytest.mark.parametrize("name", ["torchvision.resnet18", "timm.resnet10t"])
def test_networks_of_a_library_come_as_they_are(name):
    sentences = mistakes(
        [
            f"backbone.name={name}",
            "backbone.channels=[1,2,3,4]",
            "backbone.pool=mean",
            "backbone.networks=2",
            "meta.head.levels=3",
        ]
    )
    own = ["backbone.channels", "backbone.pool", "backbone.networks"]
    assert [s.split(":")[0] for s in sentences] == [*own, "meta.head.levels"]
    assert all(name in s and "conv4 and resnet12" in s for s in sentences)


@pytest.mark.parametrize("examples", ["by=self_paced", "by=hardest scope=memory"])
def test_examples_remember_the_losses_of_one_network(examples):
    keys = [f"pretrain.examples.{key}" for key in examples.split()]
    mistake([*keys, "backbone.networks=2"], "backbone.networks", "pretrain.examples.by")
    assert load_config(None, keys).backbone.networks == 1


@pytest.mark.parametrize("name", ["conv4", "resnet12"])
def test_networks_of_this_project_have_no_published_weights(name):
    mistake(
        [f"backbone.name={name}", "backbone.weights=DEFAULT"],
        "backbone.weights: DEFAULT",
        name,
        ".safetensors",
    )
    assert load_config(None, [f"backbone.name={name}", "backbone.weights=own.pth"]).backbone.weights


@pytest.mark.parametrize(
    ("tree", "parts"),
    [
        ({"data": {"name": "omniglot", "sets": ["glyphs"]}}, ("data.sets: ", "several", "omniglot")),
        *(
            ({"data": {"name": "several", "sets": sets}}, ("data.sets: ", "two image sets or more"))
            for sets in ([], ["glyphs"], ["glyphs", "glyphs"], ["glyphs", "omniglot", "glyphs"])
        ),
        ({"evaluate": {"sets": ["glyphs", "glyphs"]}}, ("evaluate.sets: ", "twice")),
        (
            {"data": {"rotations": True}, "pretrain": {"rotation": {"share": 0.5}}},
            ("pretrain.rotation.share: ", "data.rotations"),
        ),
        (
            {"evaluate": {"sets": [{"name": "image_folder", "root": f"{a}/birds"} for a in "ab"]}},
            ("evaluate.sets: ", "twice, birds"),
        ),
        ({"evaluate": {"sets": ["birds"]}}, ("evaluate.sets[0].name: 'birds'", "image_folder")),
        ({"evaluate": {"sets": [{"root": "birds"}]}}, ("evaluate.sets[0].name: is missing",)),
        (
            {"evaluate": {"sets": [{"name": "glyphs", "rot": "x"}]}},
            ("evaluate.sets.0.rot", "did you mean", "root"),
        ),
        ({"evaluate": {"sets": [{"name": "glyphs", "root": ""}]}}, ("evaluate.sets[0].root: ''", "empty")),
        ({"evaluate": {"sets": [7]}}, ("evaluate.sets[0]: 7",)),
        (
            {
                "data": TWO,
                "pretrain": {"sets": {"schedule": "proportional", "samples": [8, 24]}, "batch_size": 32},
            },
            ("pretrain.sets.schedule: proportional", "pretrain.sets.samples"),
        ),
        (
            {"data": TWO, "pretrain": {"sets": {"samples": [8, 8, 16]}, "batch_size": 32}},
            ("pretrain.sets.samples: 3 numbers", "2 sets"),
        ),
        (
            {"data": TWO, "pretrain": {"sets": {"samples": [8, 16]}, "batch_size": 32}},
            ("pretrain.sets.samples: ", "24", "pretrain.batch_size", "32"),
        ),
        (
            {"data": TWO, "pretrain": {"balance": {"by": "sampling", "start": 0.5}}},
            ("pretrain.balance.start: ", "0", "weights or logits"),
        ),
        ({"pretrain": {"sets": {"samples": [64, 64]}}}, ("pretrain.sets.samples: ", "several", "glyphs")),
    ],
)
def test_several_sets_that_do_not_fit_are_refused(tree, parts):
    mistake(tree, *parts)


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
    read_config(tree, "here")


@pytest.mark.parametrize("balance", ["sampling", "logits"])
def test_the_size_of_classes_is_corrected_for_once(balance):
    both = {"balance": {"by": balance}, "examples": {"by": "influence"}}
    mistake(
        {"pretrain": both}, f"pretrain.balance.by: {balance}", "pretrain.examples.by = influence", "weights"
    )
    read_config({"pretrain": {**both, "balance": {"by": "weights"}}}, "here")
    read_config({"pretrain": {**both, "examples": {"by": "focal"}}}, "here")


def test_smoothed_labels_and_adjusted_logits_are_one_or_the_other():
    mistake(
        {"pretrain": {"balance": {"by": "logits"}, "label_smoothing": 0.1}},
        "pretrain.label_smoothing: ",
        "pretrain.balance.by = logits",
    )
    read_config({"pretrain": {"balance": {"by": "weights"}, "label_smoothing": 0.1}}, "here")


@pytest.mark.parametrize("section", ["pretrain", "meta"])
def test_of_the_hardest_some_must_be_left(section):
    """Else the loss itself refuses, with a traceback."""
    for cap in (0.5, 0.7):
        tree = {section: {"examples": {"by": "hardest", "part": 0.5, "cap": cap}}}
        mistake(tree, f"{section}.examples.cap: ", str(cap), "part = 0.5")
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
    mistake(
        {"meta": {"examples": examples}},
        "meta.examples: ",
        "all, focal, hardest",
        "scope = batch",
        "start = 0",
    )
    read_config({"pretrain": {"examples": examples}}, "here")


def test_a_learned_start_serves_no_other_way():
    tree = {"meta": {"way": 5, "head": {"init": "learned"}}, "evaluate": {"settings": [[5, 1], [20, 1]]}}
    mistake(tree, "evaluate.settings: [20, 1] has 20 ways", "meta.head.init", "meta.way = 5")
    tree["meta"]["head"] = {"name": "ridge", "init": "learned"}  # which has no start
    read_config(tree, "here")


@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta_sgd"])
def test_a_classifier_of_fixed_outputs_serves_no_other_way(algorithm):
    sentences = mistakes(
        {
            "meta": {"way": 5, "algorithm": algorithm},
            "hard_tasks": {"sampler": "boosted_pool"},
            "evaluate": {"settings": [[3, 1], [5, 1], [4, 2]]},
        }
    )
    keys = [s.split(" has ")[0] for s in sentences]
    assert keys == ["evaluate.settings: [3, 1]", "evaluate.settings: [4, 2]"]
    assert all(f"meta.algorithm = {algorithm} has meta.way = 5 outputs" in s for s in sentences)


@pytest.mark.parametrize(
    "meta", [{"algorithm": "maml"}, {"algorithm": "meta_sgd"}, {"batch_norm": "episode"}]
)
def test_where_features_differ_in_every_episode_none_can_be_surveyed(meta):
    mistake(
        {"meta": meta, "hard_tasks": {"sampler": "neighbours"}},
        "hard_tasks.sampler: neighbours",
        "boosted_pool",
    )
    without = {"sampler": "boosted_pool"}
    read_config({"meta": meta, "hard_tasks": without}, "here")


@pytest.mark.parametrize(
    "meta",
    [{"algorithm": "maml"}, {"algorithm": "anil"}, {"algorithm": "meta_sgd"}, {"batch_norm": "episode"}],
    ids=str,
)
def test_learners_vote_where_their_features_do_not_depend_on_the_episode(meta):
    hard = {"sampler": "boosted_pool"}
    read_config({"meta": meta, "hard_tasks": hard}, "here")
    (value,) = meta.values()
    mistake({"meta": meta, "hard_tasks": {**hard, "snapshots": 2}}, "hard_tasks.snapshots: ", value, "mtl")
    mistake({"meta": {**meta, "learners": 2}, "hard_tasks": hard}, "meta.learners: ", value, "mtl")


@pytest.mark.parametrize("meta", [{"train": "head"}, {"algorithm": "anil"}], ids=str)
def test_a_rate_of_the_head_is_for_learners_that_train_more(meta):
    boosted = {"sampler": "boosted_pool"}
    mistake({"meta": {**meta, "head_lr": 1e-2}, "hard_tasks": boosted}, "meta.head_lr: ", "0.01", "ss")
    read_config({"meta": {"head_lr": 1e-2}}, "here")


def test_either_rounds_vote_or_learners():
    mistake({"meta": {"learners": 3}, "hard_tasks": {"snapshots": 2}}, "hard_tasks.snapshots: 2", "3")


def test_warm_up_and_fade_fit_into_one_training():
    mistake({"hard_tasks": {"warm_up": 0.6, "fade": 0.5}}, "hard_tasks.warm_up and hard_tasks.fade: ", "1")
    read_config({"hard_tasks": {"warm_up": 0.5, "fade": 0.5}}, "here")


def test_moved_copies_need_something_that_moves():
    still = {"augment": {"flip": True, "brightness": 0.2}}
    mistake({"data": still, "evaluate": {"moves": 0.5}}, "evaluate.moves: 0.5 ", "rotate", "crop")
    read_config({"data": {"augment": {"crop": 4}}, "evaluate": {"moves": 0.5}}, "here")


@pytest.mark.parametrize("key", OWN)
def test_keys_of_own_images_are_for_own_images_alone(key):
    keys = {key: OWN[key]}
    mistake({"data": {"name": "omniglot", **keys}}, f"data.{key}: ", "image_folder", "omniglot")
    mistake({"data": {**TWO, **keys}}, f"data.{key}: ", "image_folder", "several")
    for tree in (
        {"data": {"name": "image_folder", **keys}},
        {"data": {"name": "several", "sets": ["omniglot", "image_folder"], **keys}},
        {"data": {"name": "omniglot", **keys}, "evaluate": {"sets": ["image_folder"]}},
    ):
        read_config(tree, "here")


def test_some_class_of_own_images_must_be_left():
    data = {"name": "image_folder", "min_images": 5, "max_images": 4}
    mistake({"data": data}, "data.max_images: 4", "data.min_images = 5")


def test_all_that_does_not_fit_is_reported_at_once():
    sentences = mistakes(
        {
            "data": {"sets": ["omniglot"]},
            "evaluate": {"sets": ["glyphs", "glyphs"]},
            "hard_tasks": {"warm_up": 0.8, "fade": 0.8},
            "backbone": {"name": "torchvision.resnet18"},
            "meta": {"head": {"levels": 2}, "examples": {"by": "influence"}},
        }
    )
    assert sorted(s.split(":")[0] for s in sentences) == [
        "data.sets",
        "evaluate.sets",
        "hard_tasks.warm_up and hard_tasks.fade",
        "meta.examples",
        "meta.head.levels",
    ]
