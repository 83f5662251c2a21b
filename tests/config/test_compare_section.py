"""The section `compare`: every mistake in it is one sentence."""

import json

import pytest

from mtl.config import load_config, read_config, to_dict, to_yaml
from mtl.config.comparison import ARMS
from mtl.errors import UserError


def _sentences(arms, **compared):
    """The mistakes of a comparison of these arms, given in a file and on the command line alike."""
    told = []
    for read in (_from_a_file, _from_the_command_line):
        with pytest.raises(UserError) as caught:
            read({"arms": arms, **compared})
        told.append([line.strip() for line in str(caught.value).split("\n")[1:]])
    assert told[0] == told[1]
    return told[0]


def _from_a_file(compared):
    return read_config({"compare": compared}, "here")


def _from_the_command_line(compared):
    values = {key: of if isinstance(of, str) else json.dumps(of) for key, of in compared.items()}
    return load_config(None, [f"compare.{key}={value}" for key, value in values.items()])


UNIFORM = {"name": "uniform", "change": ["hard_tasks.sampler=uniform"]}


def test_arms_are_read_as_they_are_written():
    arm = {
        "name": "hard classes",
        "change": ["hard_tasks.boosted.unit=class"],
        "trials": [["meta.lr*=2"], []],
    }
    for read in (_from_a_file, _from_the_command_line):
        made = read({"arms": [{**UNIFORM, "trials": [[], []]}, arm], "reference": "hard classes"}).compare
        assert [one.name for one in made.arms] == ["uniform", "hard classes"]
        assert made.arm("hard classes").change == ("hard_tasks.boosted.unit=class",)
        assert made.arm("hard classes").trials == (("meta.lr*=2",), ())


def test_the_resolved_config_holds_the_arms_and_reads_as_the_same(tmp_path):
    config = load_config(None)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(path).compare.arms == ARMS
    assert read_config(to_dict(config), "here") == config


def test_two_arms_of_one_name_are_told():
    assert _sentences([UNIFORM, UNIFORM]) == ["compare.arms: two are called 'uniform'"]


@pytest.mark.parametrize(("one", "other"), [("hard tasks", "hard-tasks"), ("a b-c", "a-b c")])
def test_two_arms_of_one_folder_are_told(one, other):
    (told,) = _sentences([UNIFORM, {"name": one}, {"name": other}])
    assert one in told
    assert other in told


@pytest.mark.parametrize("name", ["pretrained", "pretrained longer", "pretrained-longer"])
def test_an_arm_does_not_take_the_folder_of_what_is_only_pretrained(name):
    (told,) = _sentences([UNIFORM, {"name": name}])
    assert name in told


def test_a_reference_that_is_no_arm_is_told_with_all_arms():
    told = _sentences([UNIFORM, {"name": "other"}], reference="unifrom")
    assert told == ["compare.reference: 'unifrom' is none of the arms (uniform, other)"]


def test_unequal_numbers_of_trials_are_told():
    arms = [{**UNIFORM, "trials": [["meta.lr*=1"]]}, {"name": "a", "trials": [[], []]}, {"name": "b"}]
    assert _sentences(arms) == [
        "compare.arms: every arm gets as many trials as any other, not uniform 1, a 2, b 0"
    ]


@pytest.mark.parametrize(
    "name",
    ["", " a", "a ", "a/b", "a\\b", "a:b", "a*", "b?", '"', "<", ">", "|", "..", "a.b", "-a", "a\tb"],
)
def test_an_arm_is_named_like_a_folder(name):
    (told,) = _sentences([UNIFORM, {"name": name}])
    assert told.startswith(f"compare.arms[1].name: {name!r} is not allowed; it must ")
    assert "folder" in told


def test_names_in_any_writing_and_with_signs_are_allowed():
    names = ["uniform", "schwere Aufgaben", "難しい", "α = 0,5 (mild)"]
    assert [a.name for a in _from_a_file({"arms": [{"name": n} for n in names]}).compare.arms] == names


def test_several_mistakes_are_told_at_once():
    told = _sentences([UNIFORM, UNIFORM, {"name": "b", "trials": [[]]}], reference="c")
    assert [sentence.split(":")[0] for sentence in told] == [
        "compare.reference",
        "compare.arms",
        "compare.arms",
    ]


@pytest.mark.parametrize(
    ("compared", "sentence"),
    [
        ({"arms": []}, "compare.arms: [] is not allowed; it must have at least 1 value"),
        ({"arms": "uniform"}, "compare.arms: 'uniform' is not allowed; it must be a list, as in [1, 2]"),
        (
            {"arms": [{"name": "uniform", "change": "meta.lr=1"}]},
            "compare.arms[0].change: 'meta.lr=1' is not allowed; it must be a list, as in [1, 2]",
        ),
        (
            {"arms": [{"name": "uniform", "trials": ["meta.lr=1"]}]},
            "compare.arms[0].trials[0]: 'meta.lr=1' is not allowed; it must be a list, as in [1, 2]",
        ),
        (
            {"arms": [{"name": "uniform", "change": [3]}]},
            "compare.arms[0].change[0]: 3 is not allowed; it must be text; "
            "put quotes around a number or a date",
        ),
        ({"seeds": 0}, "compare.seeds: 0 is not allowed; it must be at least 1"),
        ({"judged_tasks": -1}, "compare.judged_tasks: -1 is not allowed; it must be at least 0"),
        ({"longer": "perhaps"}, "compare.longer: 'perhaps' is not allowed; it must be true or false"),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_one_sentence(compared, sentence):
    with pytest.raises(UserError) as caught:
        _from_a_file(compared)
    assert str(caught.value) == f"here: 1 mistake(s)\n  {sentence}"


def test_an_unknown_key_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"compare\.seds: no such key; did you mean compare\.seeds\?"):
        _from_a_file({"seds": 3})


def test_an_unknown_key_of_an_arm_is_told_with_the_nearest():
    (told,) = _sentences([UNIFORM, {"name": "other", "chnage": []}])
    assert "chnage: no such key; did you mean" in told
    assert "change" in told.split("did you mean")[1]


def test_an_arm_without_a_name_is_told_so():
    (told,) = _sentences([UNIFORM, {"change": []}])
    assert told.startswith("compare.arms[1]")
    assert "name" in told


@pytest.mark.parametrize(("override", "rate"), [("meta.lr*=0.5", 0.02), ("meta.lr*=2", 0.08)], ids=str)
def test_a_factor_on_the_command_line_multiplies_what_the_file_says(tmp_path, override, rate):
    path = tmp_path / "some.yaml"
    path.write_text("meta: {lr: 0.04}\n", encoding="utf-8")
    assert load_config(path, [override]).meta.lr == pytest.approx(rate)


def test_a_factor_on_the_command_line_multiplies_a_default_too():
    assert load_config(None, ["meta.lr*=0.5"]).meta.lr == pytest.approx(0.5e-3)
