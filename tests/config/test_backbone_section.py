"""What `backbone` and `pretrain.epochs` may say, as far as that shows without loading a library."""

import subprocess
import sys

import pytest

from mtl.config import Backbone, load_config
from mtl.config.networks import is_file
from mtl.errors import UserError

FORM = "it must be conv4, resnet12, torchvision.NAME or timm.NAME"


def _told(*overrides):
    with pytest.raises(UserError) as caught:
        load_config(None, overrides)
    return [line.strip() for line in str(caught.value).split("\n")[1:]]


@pytest.mark.parametrize("name", ["conv4", "resnet12", "torchvision.vit_b_16", "timm.vit_tiny.tag_1"])
def test_names_of_the_right_form_are_taken_as_they_are(name):
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
def test_other_names_are_refused_with_the_nearest(name, nearest):
    hint = f"; did you mean {nearest}?" if nearest else ""
    assert _told(f"backbone.name={name}") == [f"backbone.name: {name!r} is not allowed; {FORM}{hint}"]


@pytest.mark.parametrize("name", ["torchvision.resnet18", "timm.resnet10t"])
def test_networks_of_a_library_come_as_they_are(name):
    told = _told(
        f"backbone.name={name}", "backbone.channels=[1,2,3,4]", "backbone.pool=mean", "meta.head.levels=3"
    )
    assert told == [
        f"backbone.channels: is for conv4 and resnet12; {name} comes as its library has it",
        f"backbone.pool: is for conv4 and resnet12; {name} comes as its library has it",
        f"meta.head.levels: 3, but {name} gives the output of its last block alone; conv4 and resnet12 "
        "give more",
    ]


@pytest.mark.parametrize("name", ["conv4", "resnet12"])
def test_networks_of_this_project_have_no_published_weights(name):
    assert _told(f"backbone.name={name}", "backbone.weights=DEFAULT") == [
        f"backbone.weights: DEFAULT, but {name} has no published weights and takes a file alone (.pth, .pt "
        "or .safetensors)"
    ]
    assert load_config(None, [f"backbone.name={name}", "backbone.weights=own.pth"]).backbone.weights


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


def test_no_epochs_are_allowed():
    assert load_config(None, ["pretrain.epochs=0"]).pretrain.epochs == 0
    assert _told("pretrain.epochs=-1") == ["pretrain.epochs: -1 is not allowed; it must be at least 0"]


def test_a_config_is_read_without_its_library():
    script = (
        "import sys; from mtl.config import load_config; "
        "load_config(None, ['backbone.name=torchvision.resnet18', 'backbone.weights=DEFAULT']); "
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
