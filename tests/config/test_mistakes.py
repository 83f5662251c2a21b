"""Every mistake in a config is one sentence: full key, value, what is allowed, the nearest match."""

import pytest

from mtl.config import load_config, read_config
from mtl.errors import UserError


def _sentences(tree):
    with pytest.raises(UserError) as caught:
        read_config(tree, "here")
    first, *rest = str(caught.value).split("\n")
    assert first == f"here: {len(rest)} mistake(s)"
    assert all(line.startswith("  ") for line in rest)
    return [line.strip() for line in rest]


def _override_mistakes(*overrides):
    with pytest.raises(UserError) as caught:
        load_config(None, overrides)
    return [line.strip() for line in str(caught.value).split("\n")[1:]]


def test_all_mistakes_are_told_at_once():
    told = _sentences(
        {
            "seed": -1,
            "hardtasks": {},
            "data": {"name": "omniglott"},
            "meta": {"wya": 5, "lr": 0, "head": {"penalty": "much"}},
        }
    )
    assert sorted(s.split(":")[0] for s in told) == [
        "data.name",
        "hardtasks",
        "meta.head.penalty",
        "meta.lr",
        "meta.wya",
        "seed",
    ]


def test_mistakes_of_overrides_stand_beside_those_of_values():
    told = _override_mistakes("seed", "meta.way=1", "run=a/b")
    assert [s.split(":")[0] for s in told] == ["'seed'", "run", "meta.way"]


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"meta": {"way": 1}}, "meta.way: 1 is not allowed; it must be at least 2"),
        ({"meta": {"lr": 0}}, "meta.lr: 0 is not allowed; it must be more than 0"),
        ({"hard_tasks": {"share": 1.5}}, "hard_tasks.share: 1.5 is not allowed; it must be at most 1"),
        (
            {"data": {"augment": {"scale": 1}}},
            "data.augment.scale: 1 is not allowed; it must be less than 1",
        ),
        ({"meta": {"shot": 1.5}}, "meta.shot: 1.5 is not allowed; it must be a whole number"),
        ({"meta": {"shot": None}}, "meta.shot: None is not allowed; it must be a whole number"),
        (
            {"meta": {"shot": "1e3"}},
            "meta.shot: '1e3' is not allowed; it must be a whole number, written in digits",
        ),
        ({"meta": {"lr": "fast"}}, "meta.lr: 'fast' is not allowed; it must be a number"),
        ({"meta": {"lr": "nan"}}, "meta.lr: 'nan' is not allowed; it must be a finite number"),
        (
            {"log": {"every_seconds": -1}},
            "log.every_seconds: -1 is not allowed; it must be at least 0",
        ),
        ({"log": {"quiet": "very"}}, "log.quiet: 'very' is not allowed; it must be true or false"),
        (
            {"log": {"tensorbord": True}},
            "log.tensorbord: no such key; did you mean log.tensorboard? "
            "(known here: every_seconds, quiet, allow_gaps, tensorboard)",
        ),
        ({"data": {"download": "maybe"}}, "data.download: 'maybe' is not allowed; it must be true or false"),
        (
            {"run": 2020},
            "run: 2020 is not allowed; it must be text; put quotes around a number or a date",
        ),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_a_value_out_of_bounds_is_told_with_its_bound(tree, sentence):
    assert _sentences(tree) == [sentence]


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (
            {"backbone": {"channels": [64, 64]}},
            "backbone.channels: [64, 64] is not allowed; it must have 4 values, not 2",
        ),
        (
            {"backbone": {"channels": [1, 2, 3, 4, 5]}},
            "backbone.channels: [1, 2, 3, 4, 5] is not allowed; it must have 4 values, not 5",
        ),
        (
            {"backbone": {"channels": [8, 8, 0, 8]}},
            "backbone.channels[2]: 0 is not allowed; it must be at least 1",
        ),
        (
            {"backbone": {"channels": 64}},
            "backbone.channels: 64 is not allowed; it must be a list, as in [1, 2]",
        ),
        (
            {"evaluate": {"settings": [[5, 1], [5]]}},
            "evaluate.settings[1]: [5] is not allowed; it must have 2 values, not 1",
        ),
        (
            {"evaluate": {"settings": [[5, 1, 15]]}},
            "evaluate.settings[0]: [5, 1, 15] is not allowed; it must have 2 values, not 3",
        ),
        (
            {"evaluate": {"settings": [[5, 0]]}},
            "evaluate.settings[0][1]: 0 is not allowed; it must be at least 1",
        ),
        (
            {"evaluate": {"settings": []}},
            "evaluate.settings: [] is not allowed; it must have at least 1 value",
        ),
    ],
)
def test_a_list_of_wrong_length_or_content_is_one_sentence(tree, sentence):
    assert _sentences(tree) == [sentence]


def test_a_word_that_is_no_choice_is_told_with_all_choices_and_the_nearest():
    (told,) = _sentences({"hard_tasks": {"boosted": {"unit": "pairs"}}})
    assert told.startswith(
        "hard_tasks.boosted.unit: 'pairs' is not allowed; allowed are 'task', 'class' or 'pair'"
    )
    assert told.endswith("; did you mean pair?")


def test_a_word_like_no_choice_gets_no_guess():
    (told,) = _sentences({"backbone": {"pool": "xyz"}})
    assert told == "backbone.pool: 'xyz' is not allowed; allowed are 'flatten' or 'mean'"


@pytest.mark.parametrize(
    ("tree", "opening"),
    [
        ({"hardtasks": {}}, "hardtasks: no such key; did you mean hard_tasks? (known here: run,"),
        ({"meta": {"head": {"nam": 1}}}, "meta.head.nam: no such key; did you mean meta.head.name? (known"),
        ({"meta": {"zzz": 1}}, "meta.zzz: no such key; (known here: algorithm, way,"),
        ({"meta": {True: 1}}, "meta[1]: no such key; keys are words"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_and_all_known(tree, opening):
    (told,) = _sentences(tree)
    assert told.startswith(opening)


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"meta": 5}, "meta: 5 is a single value, but meta is a section with keys of its own"),
        ({"meta": {"head": "ridge"}}, "meta.head: 'ridge' is a single value, but meta.head is a section"),
        ({"meta": None}, "meta: is empty, but meta is a section with keys of its own"),
    ],
)
def test_a_single_value_for_a_section_is_told(tree, sentence):
    (told,) = _sentences(tree)
    assert told.startswith(sentence)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", " a", "a:b", "what?"])
def test_a_run_is_named_like_a_folder(name):
    (told,) = _sentences({"run": name})
    assert told.startswith(f"run: {name!r} is not allowed; it must be a name that a folder can bear")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("meta.way", "'meta.way': an override is written key.sub=value, for example meta.way=5"),
        ("=5", "'=5': an override is written key.sub=value, for example meta.way=5"),
        ("meta.way=[5", "meta.way: '[5' is not a YAML value (numbers, true, words, [lists])"),
        ("meta.wya=5", "meta.wya: no such key; did you mean meta.way?"),
    ],
)
def test_an_override_that_cannot_be_read_is_told(override, sentence):
    (told,) = _override_mistakes(override)
    assert told.startswith(sentence)


def test_an_override_below_a_single_value_is_told():
    told = _override_mistakes("seed=1", "seed.sub=2")
    assert told == ["seed.sub: seed is a single value and has no keys below it"]


def test_a_learned_start_serves_no_other_way():
    (told,) = _sentences(
        {"meta": {"way": 5, "head": {"init": "learned"}}, "evaluate": {"settings": [[5, 1], [20, 1]]}}
    )
    assert told.startswith("evaluate.settings: [20, 1] has 20 ways")
    assert "meta.head.init" in told
    assert "meta.way = 5" in told


@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta_sgd"])
def test_a_classifier_of_fixed_outputs_serves_no_other_way(algorithm):
    told = _sentences(
        {
            "meta": {"way": 5, "algorithm": algorithm},
            "evaluate": {"settings": [[3, 1], [5, 1], [4, 2]]},
        }
    )
    assert [s.split(" has ")[0] for s in told] == ["evaluate.settings: [3, 1]", "evaluate.settings: [4, 2]"]
    assert all(f"meta.algorithm = {algorithm} has meta.way = 5 outputs" in s for s in told)


@pytest.mark.parametrize(
    "meta", [{"algorithm": "maml"}, {"algorithm": "meta_sgd"}, {"batch_norm": "episode"}]
)
def test_where_features_differ_in_every_episode_none_can_be_surveyed(meta):
    (told,) = _sentences({"meta": meta, "hard_tasks": {"sampler": "neighbours"}})
    assert told.startswith("hard_tasks.sampler: neighbours needs features that are the same in every episode")
    assert told.endswith("do not have; boosted does without, for one")
    read_config({"meta": meta}, "here")


def test_a_start_of_the_head_does_not_matter_to_other_heads():
    read_config(
        {"meta": {"head": {"name": "ridge", "init": "learned"}}, "evaluate": {"settings": [[20, 1]]}}, "here"
    )


def test_warm_up_and_fade_fit_into_one_training():
    (told,) = _sentences({"hard_tasks": {"warm_up": 0.6, "fade": 0.5}})
    assert told == "hard_tasks.warm_up and hard_tasks.fade: together they may not exceed 1"
    read_config({"hard_tasks": {"warm_up": 0.5, "fade": 0.5}}, "here")
