"""The section `compare`: arms in a file and on the command line, and every mistake in it."""

import json

import pytest
from config_mistakes import mistake, mistakes

from mtl.config import load_config, read_config, to_dict, to_yaml
from mtl.config.comparison import ARMS

UNIFORM = {"name": "uniform", "change": ["hard_tasks.sampler=uniform"]}


def _overrides(compared):
    values = {key: of if isinstance(of, str) else json.dumps(of) for key, of in compared.items()}
    return [f"compare.{key}={value}" for key, value in values.items()]


def _sentences(arms, **compared):
    """The mistakes of a comparison of these arms, the same in a file and on the command line."""
    compared = {"arms": arms, **compared}
    sentences = mistakes({"compare": compared})
    assert mistakes(_overrides(compared)) == sentences
    return sentences


def test_arms_are_read_as_they_are_written():
    arm = {"name": "hard classes", "change": ["meta.shot=3"], "trials": [["meta.lr*=2"], []]}
    compared = {"arms": [{**UNIFORM, "trials": [[], []]}, arm], "reference": "hard classes"}
    for config in (read_config({"compare": compared}, "here"), load_config(None, _overrides(compared))):
        made = config.compare
        assert [one.name for one in made.arms] == ["uniform", "hard classes"]
        assert made.arm("hard classes").change == ("meta.shot=3",)
        assert made.arm("hard classes").trials == (("meta.lr*=2",), ())


def test_the_resolved_config_holds_the_arms_and_reads_as_the_same(tmp_path):
    config = load_config(None)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(path).compare.arms == ARMS
    assert read_config(to_dict(config), "here") == config


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["uniform"], ("compare.arms: two", "'uniform'")),
        (["hard tasks", "hard-tasks"], ("compare.arms: ", "'hard tasks'", "'hard-tasks'")),
        (["a b-c", "a-b c"], ("compare.arms: ", "'a b-c'", "'a-b c'")),
        *((["other", name], ("compare.arms: ", name)) for name in ("pretrained", "pretrained-longer")),
    ],
)
def test_arms_of_one_name_or_folder_are_refused(names, parts):
    (sentence,) = _sentences([UNIFORM, *({"name": name} for name in names)])
    assert all(part in sentence for part in parts)


def test_a_reference_that_is_no_arm_is_refused_with_all_arms():
    sentences = _sentences([UNIFORM, {"name": "other"}], reference="unifrom")
    assert sentences == ["compare.reference: 'unifrom' is none of the arms (uniform, other)"]


def test_a_shipped_arm_goes_by_its_name_beside_others():
    compared = {"arms": ["boosted", UNIFORM], "trial_seeds": 0}
    for config in (read_config({"compare": compared}, "here"), load_config(None, _overrides(compared))):
        first, second = config.compare.arms
        assert first == next(arm for arm in ARMS if arm.name == "boosted")
        assert second.trials == ()


def test_another_name_is_refused_with_those_of_the_shipped_arms():
    (sentence,) = _sentences(["uniform", "bosted"])
    assert sentence.startswith("compare.arms[1]: 'bosted' is not allowed")
    assert all(arm.name in sentence for arm in ARMS)


def test_unequal_numbers_of_trials_are_refused_where_trials_are_made():
    arms = [{**UNIFORM, "trials": [["meta.lr*=1"]]}, {"name": "a", "trials": [[], []]}, {"name": "b"}]
    (sentence,) = _sentences(arms)
    assert sentence.startswith("compare.arms: ")
    assert "uniform 1, a 2, b 0" in sentence
    assert read_config({"compare": {"arms": arms, "trial_seeds": 0}}, "here").compare.arm("b").trials == ()


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", "-a"])
def test_an_arm_is_named_like_a_folder(name):
    (sentence,) = _sentences([UNIFORM, {"name": name}])
    assert sentence.startswith(f"compare.arms[1].name: {name!r} is not allowed; it must ")
    assert "folder" in sentence


def test_names_in_any_script_and_with_signs_are_allowed():
    names = ["uniform", "schwere Aufgaben", "難しい", "α = 0,5 (mild)"]
    config = read_config({"compare": {"arms": [{"name": name} for name in names]}}, "here")
    assert [arm.name for arm in config.compare.arms] == names


def test_several_mistakes_are_reported_at_once():
    sentences = _sentences([UNIFORM, UNIFORM, {"name": "b", "trials": [[]]}], reference="c")
    assert [s.split(":")[0] for s in sentences] == ["compare.reference", "compare.arms", "compare.arms"]


@pytest.mark.parametrize(
    ("compared", "parts"),
    [
        ({"stage": "pretrain"}, ("compare.stage: ", "compare.judged_tasks: 0", "compare.longer: false")),
        ({"arms": []}, ("compare.arms: []", "at least 1")),
        ({"arms": "uniform"}, ("compare.arms: 'uniform'", "a list")),
        ({"arms": [{**UNIFORM, "change": "meta.lr=1"}]}, ("compare.arms[0].change: 'meta.lr=1'", "a list")),
        ({"arms": [{**UNIFORM, "trials": ["meta.lr=1"]}]}, ("compare.arms[0].trials[0]: ", "a list")),
        ({"arms": [{**UNIFORM, "change": [3]}]}, ("compare.arms[0].change[0]: 3", "text")),
        ({"arms": [UNIFORM, {"change": []}]}, ("compare.arms[1].name: is missing",)),
        (
            {"arms": [UNIFORM, {"name": "a", "chnage": []}]},
            ("compare.arms.1.chnage: no such key", ".change?"),
        ),
        ({"seeds": 0}, ("compare.seeds: 0", "at least 1")),
        ({"judged_tasks": -1}, ("compare.judged_tasks: -1", "at least 0")),
        ({"longer": "perhaps"}, ("compare.longer: 'perhaps'", "true or false")),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_one_sentence(compared, parts):
    mistake({"compare": compared}, *parts)
