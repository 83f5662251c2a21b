"""Kinds of values: what is taken, and what is refused with what is allowed."""

import pytest
from config_mistakes import mistake

from mtl.config import Backbone, load_config, read_config
from mtl.config.values import is_file


@pytest.mark.parametrize("name", ["conv4", "resnet12", "torchvision.vit_b_16", "timm.vit_tiny.tag_1"])
def test_names_of_networks_of_the_right_form_are_taken_as_they_are(name):
    assert load_config(None, [f"backbone.name={name}"]).backbone == Backbone(name=name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet18", "torchvision.resnet18"),
        ("mobilenet_v3_small", "torchvision.mobilenet_v3_small"),
        ("resnet-12", "resnet12"),
        ("Resent12", "resnet12"),
        ("conv_4", "conv4"),
        ("torchvison.resnet18", "torchvision.resnet18"),
        ("tim.resnet10t", "timm.resnet10t"),
        ("keras.resnet", None),
        ("timm", None),
        ("timm.", None),
        ("torchvision.", None),
        ("a b", None),
    ],
)
def test_other_names_of_networks_are_refused_with_the_nearest(name, nearest):
    hint = f"; did you mean {nearest}?" if nearest else ""
    allowed = f"conv4, resnet12, torchvision.NAME or timm.NAME{hint}"
    mistake([f"backbone.name={name}"], f"backbone.name: {name!r} is not allowed; it must be {allowed}")


@pytest.mark.parametrize(
    ("weights", "file"),
    [
        ("DEFAULT", False),
        ("IMAGENET1K_SWAG_E2E_V1", False),
        ("a.pth", True),
        ("folder/model", True),
        ("C:\\model", True),
        ("..", True),
    ],
)
def test_a_path_is_told_from_a_name(weights, file):
    assert is_file(weights) == file


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", " a", "a ", "a/b", "a\\b", "a:b", "a*", "b?", '"', "<", ">", "|"),
        *("-x", "--help", ".git", "a\nb", "a\tb", "a\x1bb", "a\u202eb", 256 * "x", "ä" * 127),
    ],
)
def test_a_run_is_named_like_a_folder(name):
    mistake({"run": name}, "run: ", "must be a name that a folder can have")


@pytest.mark.parametrize("value", ["", "a\0b", "x" * 5000, "~nobody-of-this-name/x"])
@pytest.mark.parametrize("key", ["checkpoints", "data"])
def test_a_path_that_cannot_be_is_refused(key, value):
    tree = {key: {"root": value} if key == "data" else value}
    mistake(tree, "data.root: " if key == "data" else "checkpoints: ")


def test_home_is_found_in_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "a.yaml").write_text(
        "checkpoints: ~/runs\ndata: {root: ~/photos}\nbackbone: {weights: ~/a.pth}"
    )
    config = load_config(tmp_path / "a.yaml", ["run=~me"])
    assert (config.checkpoints, config.data.root) == ("/home/me/runs", "/home/me/photos")
    assert (config.backbone.weights, config.run) == ("/home/me/a.pth", "~me")
    assert load_config(None, ["checkpoints=~/runs"]).checkpoints == "/home/me/runs"
    assert load_config(None, ["checkpoints=a~"]).checkpoints == "a~"


@pytest.mark.parametrize("pattern", ["(clip", "", "(clip)_(frame)"])
def test_a_pattern_that_can_name_no_group_is_refused(pattern):
    tree = {"data": {"name": "image_folder", "group_by": pattern}}
    mistake(tree, f"data.group_by: {pattern!r} is not allowed; it must ")


@pytest.mark.parametrize(
    ("override", "bound"),
    [
        ("runtime.threads=99999999999", "512"),
        ("data.augment.crop=1000000000", "1024"),
        ("data.augment.shear=90", "89"),
        ("data.augment.rotate=1e308", "360"),
        ("pretrain.epochs=9999999999999999999999", "1,000,000"),
        ("pretrain.batch_size=99999999999", "1,000,000"),
        ("meta.way=999999999999", "10000"),
        ("meta.tasks=100000000", "10000"),
        ("meta.queries=10001", "10000"),
        ("evaluate.tasks=10000000", "1,000,000"),
        ("evaluate.settings=[[5,9223372036854775807]]", "10000"),
        ("backbone.channels=[99999999999,8,8,8]", "10000"),
        ("seed=9223372036854775808", "9,223,372,036,854,775,808"),
    ],
)
def test_a_number_that_no_machine_can_handle_is_refused_with_its_bound(override, bound):
    (key, _) = override.split("=")
    words = "less than" if key == "seed" else "at most"
    mistake([override], key, f"is not allowed; it must be {words} {bound}")


@pytest.mark.parametrize("written", ["010", "0x10", "1:30", "0100", "-01", True, "yes", "2024-05-01"])
def test_a_number_that_may_be_read_in_two_ways_is_refused(written):
    mistake({"seed": written}, "seed: ")
    mistake({"meta": {"lr": written}}, "meta.lr: ")
    read_config({"seed": 10}, "here")
