"""Which arms a comparison takes: odd ones are refused at once, those that need groups are left out."""

import pytest
from small_comparison import FIRST, SECOND, SETTINGS, UNTRIED, mistake

from mtl.compare.study import compare
from mtl.errors import UserError

pytestmark = pytest.mark.usefixtures("quick")

WITHIN = {"name": "in a group", "change": ["hard_tasks.sampler=within_group"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("pretrain.epochs=3", r"pretrain\.epochs=3: an arm may change keys of meta and hard_tasks alone"),
        ("seed=3", r"seed=3: an arm may change keys of meta and hard_tasks alone"),
        ("meta.steps=9", "makes 9 updates on 216 images, uniform 8 on 192"),
        ("meta.tasks=4", "makes 8 updates on 384 images, uniform 8 on 192"),
        ("meta.queries=2", "makes 8 updates on 144 images, uniform 8 on 192"),
        ("hard_tasks.meta_batch.budget=extra", "makes 13 updates on 312 images, uniform 8 on 192"),
        ("meta.wya=5", r"meta\.wya: no such key; did you mean meta\.way\?"),
        ("meta.train*=2", r"meta\.train\*=2: \*= multiplies a number of the config by a number"),
    ],
)
@pytest.mark.parametrize("place", ["change", "trials"])
def test_an_arm_that_is_not_like_the_others_is_refused_before_anything_is_written(
    config_of, tmp_path, place, change, words
):
    odd = {"name": "odd one", "change": ["hard_tasks.sampler=meta_batch", "hard_tasks.meta_batch.collect=8"]}
    if place == "change":
        arms = [UNTRIED[0], {**odd, "change": [*odd["change"], change]}]
    else:
        arms = [{**UNTRIED[0], "trials": [["meta.lr*=1"]]}, {**odd, "trials": [[change]]}]
    config = config_of(tmp_path, compare={"arms": arms})
    with pytest.raises(UserError, match=words) as caught:
        compare(config)
    assert str(caught.value).startswith("compare.arms: odd one")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        ["meta.way=6", "meta.queries=1"],  # of 5 validation classes
        ["meta.validate_within_group=true"],  # of no groups
    ],
    ids=lambda change: change[0],
)
def test_an_arm_that_the_image_set_cannot_serve_is_refused_before_anything_is_written(
    config_of, tmp_path, change
):
    wide = {"name": "odd one", "change": [*UNTRIED[0]["change"], *change]}
    config = config_of(tmp_path, compare={"arms": [UNTRIED[0], wide], "seeds": 1, "longer": False})
    told = mistake(config)
    assert told.count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_arms_within_groups_are_left_out_where_the_set_has_none(config_of, tmp_path, capsys):
    config = config_of(tmp_path, compare={"arms": [*UNTRIED, WITHIN], "seeds": 1, "longer": False})
    study = compare(config)
    assert "compare: image_folder has no groups of classes; left out: in a group" in capsys.readouterr().err
    assert [r.arm for r in study.settings[SETTINGS[0]]] == ["uniform", "ohem"]
    assert not (tmp_path / "study" / f"seed-{FIRST}" / "in-a-group").exists()


def test_arms_that_are_left_out_do_not_keep_seeds_from_running_apart(config_of, tmp_path):
    arms = [{**UNTRIED[0], "trials": [[]]}, {**WITHIN, "trials": [[]]}]
    config = config_of(tmp_path, compare={"arms": arms, "longer": False, "judged_tasks": 0})
    compare(config, seeds=[FIRST])
    assert compare(config, resume=True, seeds=[SECOND]).seeds == (FIRST, SECOND)


def test_arms_within_groups_take_part_where_the_set_has_groups(config_of, in_groups, tmp_path, capsys):
    config = config_of(tmp_path, compare={"arms": [UNTRIED[0], WITHIN], "seeds": 1, "longer": False})
    study = compare(config, run_data=in_groups(config, ("a",) * 6 + ("b",) * 6))
    assert "left out" not in capsys.readouterr().err
    assert "in a group" in [r.arm for r in study.settings[SETTINGS[0]]]


def test_a_reference_that_would_be_left_out_is_refused_before_anything_is_written(config_of, tmp_path):
    config = config_of(tmp_path, compare={"arms": [*UNTRIED, WITHIN], "reference": "in a group"})
    told = mistake(config)
    assert "in a group" in told
    assert not list(tmp_path.iterdir())


def test_an_arm_alone_ends_in_a_table(config_of, tmp_path, monkeypatch):
    monkeypatch.undo()  # plots are drawn
    config = config_of(
        tmp_path, compare={"arms": UNTRIED[:1], "seeds": 1, "longer": False, "judged_tasks": 0}
    )
    assert [r.arm for r in compare(config).settings[SETTINGS[0]]] == ["uniform"]


def test_an_arm_whose_trial_draws_within_groups_is_left_out_where_there_are_none(config_of, tmp_path):
    arms = [
        {**UNTRIED[0], "trials": [["meta.lr*=1"]]},
        {"name": "in a group", "trials": [["hard_tasks.sampler=within_group"]]},
    ]
    config = config_of(tmp_path, compare={"arms": arms, "seeds": 1, "longer": False})
    assert [r.arm for r in compare(config).settings[SETTINGS[0]]] == ["uniform"]
