"""Checkpoints: whole or not there, safe to load, refused with a sentence if they do not fit."""

import os
import pickle

import pytest
import torch

from mtl.config import Backbone, Config, Data, Meta, load_config
from mtl.errors import UserError
from mtl.runtime import checkpoints


def _payload(**more):
    return {"format": checkpoints.FORMAT, "weights": torch.arange(5.0), **more}


def test_what_was_written_is_read_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.pt"
    for _ in range(2):
        checkpoints.write(path, _payload(best={"score": 0.5, "step": 3}, names=["a", "b"]))
    read = checkpoints.read(path)
    assert torch.equal(read.pop("weights"), torch.arange(5.0))
    assert read == {"format": checkpoints.FORMAT, "best": {"score": 0.5, "step": 3}, "names": ["a", "b"]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    checkpoints.write(tmp_path / "a.pt", _payload())
    assert order == ["fsync", "replace", "fsync"]  # the file, its name, and the name on the disk


def test_a_missing_file_is_refused_with_what_makes_it(tmp_path):
    for hint in ("pretrain comes first", ""):
        with pytest.raises(UserError, match=rf"a\.pt: there is no such checkpoint(; )?{hint}$"):
            checkpoints.read(tmp_path / "a.pt", hint)


class _Command:
    def __reduce__(self):
        return os.mkdir, ("was-executed",)


def test_a_file_that_is_damaged_or_would_run_a_command_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    checkpoints.write(path, _payload())
    contents = [path.read_bytes()[:keep] for keep in (0, 10, 300)]
    torch.save(_payload(evil=_Command()), path)
    for content in (*contents, path.read_bytes(), pickle.dumps(_Command())):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"^[^\n]*a\.pt: is damaged or no checkpoint[^\n]*$"):
            checkpoints.read(path)
    assert not (tmp_path / "was-executed").exists()


@pytest.mark.parametrize(("content", "found"), [({"format": 99}, "99"), ({}, "None"), ([1], "None")])
def test_another_format_is_refused_with_both_numbers(tmp_path, content, found):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match=f"format {found}, .* format {checkpoints.FORMAT}"):
        checkpoints.read(tmp_path / "a.pt")


def test_a_header_says_what_made_it_in_plain_containers(tmp_path):
    config = Config(seed=3, backbone=Backbone(channels=(4, 4, 8, 8)))
    checkpoints.write(tmp_path / "a.pt", checkpoints.header(config, "pretrain", ("a", "b")))
    read = checkpoints.read(tmp_path / "a.pt")
    assert (read["stage"], read["classes"]) == ("pretrain", ["a", "b"])
    assert read["config"]["backbone"]["channels"] == [4, 4, 8, 8]
    assert read["versions"]["torch"] == torch.__version__


def test_a_checkpoint_fits_the_same_config_and_one_that_differs_in_other_keys(tmp_path):
    config = Config(seed=1, backbone=Backbone(channels=(4, 4, 8, 8)))
    payload = checkpoints.header(config, "pretrain", ())
    checkpoints.require_fit(tmp_path, payload, config, ("seed", "data", "backbone", "meta"))
    checkpoints.require_fit(tmp_path, payload, Config(seed=2, backbone=config.backbone), ("data", "backbone"))


def test_the_first_key_that_differs_is_named_with_both_values(tmp_path):
    payload = checkpoints.header(Config(meta=Meta(way=7, shot=2)), "meta-train", ())
    with pytest.raises(UserError) as caught:
        checkpoints.require_fit(tmp_path / "a.pt", payload, Config(), ("data", "meta"))
    for part in ("a.pt: ", "meta.way = 7", "now says 5", "give meta.way=7", "run=NAME"):
        assert part in str(caught.value)
    assert "meta.shot" not in str(caught.value)


@pytest.mark.parametrize(
    "before",
    [
        Config(),
        Config(data=Data(name="fc100", rotations=True)),
        Config(data=Data(image_size=32), backbone=Backbone(channels=(4, 4, 8, 8))),
    ],
)
def test_what_a_refusal_says_to_give_can_be_given_as_an_override(tmp_path, before):
    payload = checkpoints.header(before, "pretrain", ())
    overrides = ["data.name=omniglot", "data.image_size=28", "backbone.channels=[1,2,3,4]"]
    for _ in range(6):
        config = load_config(None, overrides)
        try:
            checkpoints.require_fit(tmp_path, payload, config, ("data", "backbone"))
        except UserError as error:
            overrides.append(str(error).split("; give ")[1].split(", or choose")[0])
    assert config == before


def test_a_set_that_moved_still_fits_and_a_key_that_came_later_has_its_default(tmp_path):
    payload = checkpoints.header(Config(), "pretrain", ("a",))
    del payload["config"]["meta"]["head"]["power"]
    moved = load_config(None, ["data.root=elsewhere", "data.download=false"])
    checkpoints.require_fit(tmp_path, payload, moved, ("data", "meta"))
    bent = load_config(None, ["meta.head.power=0.5"])
    with pytest.raises(UserError, match=r"meta\.head\.power = 1\.0, but the config now says 0\.5"):
        checkpoints.require_fit(tmp_path, payload, bent, ("data", "meta"))


def test_other_rounding_is_reported_with_what_changed(capsys):
    payload = {"stage": "pretrain", "computed_on": {"device": "cpu", "threads": 2}}
    checkpoints.tell_other_rounding(payload, {"device": "cpu", "threads": 2})
    assert capsys.readouterr().err == ""
    checkpoints.tell_other_rounding(payload, {"device": "cpu", "threads": 1, "torch": "2.6"})
    assert "pretrain: goes on with threads 1 (before: 2): " in capsys.readouterr().err
