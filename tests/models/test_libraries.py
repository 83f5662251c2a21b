"""Networks of torchvision and timm as backbones: what they give, what they take, what of them is refused."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from mtl.config import Backbone
from mtl.errors import UserError
from mtl.models.backbones import FromLibrary, build_backbone, input_format, require_size
from mtl.models.backbones.libraries import Torchvision
from mtl.runtime.seeds import generator

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def _build(name, channels=3, **keys):
    return build_backbone(Backbone(name=name, **keys), channels, 32, generator(0))


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("alexnet", 64, 4096),
        ("convnext_tiny", 32, 768),
        ("googlenet", 32, 1024),
        ("mobilenet_v3_small", 32, 1024),
        ("resnet18", 32, 512),
        ("squeezenet1_1", 32, 512),
        ("swin_t", 84, 768),
        ("vit_b_32", 224, 768),
    ],
)
def test_the_classifier_is_taken_off_whatever_it_is_called(name, size, features):
    with torch.device("meta"):  # shapes alone
        network = _build(f"torchvision.{name}")
        for channels in (1, 3):
            found = network.train()(torch.empty(2, channels, size, size))
            assert found.shape == (2, network.out_features) == (2, features)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1"])
def test_a_feature_is_what_the_classifier_was_given(name):
    import torchvision

    network = _build(f"torchvision.{name}").eval()
    whole = torchvision.models.get_model(name).eval()
    whole.load_state_dict(network.network.state_dict(), strict=False)
    given = []
    last = whole.classifier[3] if name == "mobilenet_v3_small" else whole.classifier[1]
    last.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    images = torch.randn(2, 3, 48, 48, generator=generator(1))
    with torch.no_grad():
        features = network(images)
        whole(images)
    expected = given[0] if given[0].ndim == 2 else given[0].mean((2, 3))  # squeezenet averages behind it
    torch.testing.assert_close(features, expected)


@pytest.mark.parametrize("name", ["torchvision.squeezenet1_1", "timm.resnet10t"])
def test_grey_images_are_repeated(name):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    network = _build(name, channels=1).eval()
    grey = torch.randn(2, 1, 32, 32, generator=generator(1))
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("name", ["torchvision.mobilenet_v3_small", "torchvision.efficientnet_b0"])
def test_nothing_is_left_to_chance_while_training(name):
    """mobilenet has dropout, efficientnet stochastic depth."""
    network = _build(name).train()
    images = torch.randn(4, 3, 32, 32, generator=generator(1))
    before = torch.random.get_rng_state()
    with torch.no_grad():
        assert torch.equal(network(images), network(images))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_follow_the_generator():
    first, again = (_build("torchvision.squeezenet1_1").state_dict() for _ in range(2))
    other = build_backbone(Backbone(name="torchvision.squeezenet1_1"), 3, 32, generator(1)).state_dict()
    key = "network.features.0.weight"
    assert torch.equal(first[key], again[key])
    assert not torch.equal(first[key], other[key])


def test_timm_gives_what_its_classifier_is_given():
    timm = pytest.importorskip("timm")
    network = _build("timm.resnet10t").eval()
    whole = timm.create_model("resnet10t").eval()
    assert network.removed == ("fc",)
    whole.load_state_dict(network.network.state_dict(), strict=False)
    images = torch.randn(2, 3, 48, 48, generator=generator(1))
    features = network(images)
    assert features.shape == (2, network.out_features)
    torch.testing.assert_close(whole.get_classifier()(features), whole(images))


@pytest.mark.parametrize(
    ("name", "weights", "size", "own"),
    [
        ("vit_b_32", None, 224, {}),
        ("resnet18", "DEFAULT", 224, IMAGENET),
        ("resnet18", "IMAGENET1K_V1", 224, IMAGENET),
        ("resnet18", "some/file.pth", 224, IMAGENET),
        ("efficientnet_b3", "DEFAULT", 300, IMAGENET),
        ("efficientnet_v2_l", "file.safetensors", 480, {"mean": (0.5,) * 3, "std": (0.5,) * 3}),
        ("vit_b_16", "DEFAULT", 224, IMAGENET),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 384, IMAGENET),
    ],
)
def test_weights_say_which_images_they_are_made_for(name, weights, size, own):
    found = input_format(Backbone(name=f"torchvision.{name}", weights=weights))
    if weights is None:
        assert found is None
    else:
        assert (found.size, found.mean, found.std) == (size, own["mean"], own["std"])


def test_so_do_those_of_timm():
    pytest.importorskip("timm")
    found = input_format(Backbone(name="timm.vit_tiny_patch16_224.augreg_in21k", weights="DEFAULT"))
    assert (found.size, found.mean, found.std) == (224, (0.5,) * 3, (0.5,) * 3)
    assert input_format(Backbone(name="timm.resnet10t")) is None
    assert input_format(Backbone(name="timm.resnet10t", weights="a.pth")).size == 176


def test_a_transformer_is_built_for_the_images_of_its_weights():
    swag = Backbone(name="torchvision.vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1")
    require_size(swag, 384)
    with pytest.raises(UserError, match=r"images of 224 pixels do not go through .*; those of 384 do"):
        require_size(swag, 224)


@pytest.mark.parametrize("weights", [None, "DEFAULT"])
def test_googlenet_converts_images_where_its_weights_want_it(weights):
    with torch.device("meta"):
        assert _build("torchvision.googlenet", weights=weights).network.transform_input == bool(weights)


@pytest.mark.parametrize(("name", "size"), [("vit_b_32", 84), ("alexnet", 28)])
def test_a_size_that_a_network_does_not_take_is_refused(name, size):
    config = Backbone(name=f"torchvision.{name}")
    with pytest.raises(UserError) as caught:
        require_size(config, size)
    assert str(caught.value) == (
        f"data.image_size: images of {size} pixels do not go through torchvision.{name}; those of 224 do "
        "(data.image_size=224)"
    )
    require_size(config, 224)


@pytest.mark.parametrize("name", ["conv4", "torchvision.resnet18", "torchvision.regnet_y_400mf"])
def test_other_networks_take_any(name):
    before = torch.random.get_rng_state()
    for size in (16, 28, 84):
        require_size(Backbone(name=name), size)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_without_one_feature_for_an_image_is_refused(monkeypatch):
    maps = FromLibrary(nn.Conv2d(3, 4, 3), 4, ())
    monkeypatch.setattr(Torchvision, "build", lambda *_: maps.to("meta"))
    with pytest.raises(UserError, match=r"makes \[4, 6, 6\] of an image, and not one list of features"):
        require_size(Backbone(name="torchvision.resnet18"), 8)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"name": "torchvision.resnet19"},
            "backbone.name: torchvision has no classification network resnet19; did you mean "
            "torchvision.resnet18 or torchvision.resnet152 or torchvision.resnet101?",
        ),
        (
            {"name": "torchvision.fasterrcnn_resnet50_fpn"},
            "backbone.name: torchvision has no classification network fasterrcnn_resnet50_fpn; ",
        ),
        (
            {"name": "torchvision.qqq"},
            "backbone.name: torchvision has no classification network qqq; it has alexnet, convnext_base, ",
        ),
        (
            {"name": "torchvision.resnet50", "weights": "V3"},
            "backbone.weights: V3, but torchvision.resnet50 takes IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT or a "
            "file (.pth, .pt or .safetensors)",
        ),
        (
            {"name": "timm.resnet10"},
            "backbone.name: timm has no network resnet10; did you mean timm.resnet10",
        ),
        (
            {"name": "timm.resnet10t.none_such"},
            "backbone.name: timm has no weights none_such of resnet10t; it has c3_in1k",
        ),
        (
            {"name": "timm.resnet10t", "weights": "c3_in1k"},
            "backbone.weights: c3_in1k, but timm.resnet10t takes DEFAULT or a file (.pth, .pt or "
            ".safetensors); name other published ones by their tag, as backbone.name=timm.resnet10t.c3_in1k",
        ),
    ],
)
def test_what_a_library_does_not_have_is_told(keys, sentence):
    if keys["name"].startswith("timm"):
        pytest.importorskip("timm")
    with pytest.raises(UserError) as caught:
        input_format(Backbone(**keys))
    assert str(caught.value).startswith(sentence)


def test_networks_that_timm_has_no_weights_of_are_built_all_the_same():
    pytest.importorskip("timm")
    name = "timm.darknet17"
    assert input_format(Backbone(name=name)) is None
    require_size(Backbone(name=name), 64)
    assert input_format(Backbone(name=name, weights="own.pth")).mean == IMAGENET["mean"]
    with pytest.raises(UserError, match="weights: DEFAULT, but timm has no published weights of darknet17"):
        input_format(Backbone(name=name, weights="DEFAULT"))


def test_timm_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for ask in (input_format, lambda config: build_backbone(config, 3, 32, generator(0))):
        with pytest.raises(UserError) as caught:
            ask(Backbone(name="timm.resnet10t"))
        assert str(caught.value) == (
            "backbone.name: timm.resnet10t needs the package timm, which is not installed: pip install timm"
        )


def test_own_networks_load_no_library():
    script = """
import sys, torch
from mtl.config import Backbone
from mtl.models.backbones import build_backbone, input_format, load_weights, require_size
for config in (Backbone(), Backbone(name="resnet12", weights="a.pth")):
    assert input_format(config) is None
    require_size(config, 17)
load_weights(build_backbone(Backbone(), 1, 16, torch.Generator()), Backbone())
assert not {"torchvision", "timm", "safetensors"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
