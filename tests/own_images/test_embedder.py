"""From images to features: as the learner has them, with nothing of training left in the network."""

import math

import pytest
import torch
from made_classifiers import SIDE, embedder, images, learner
from torch import nn
from torch.nn.utils import parametrize

from mtl.config import Head
from mtl.data.augment import Normalise
from mtl.models.heads import power_transform
from mtl.own_images.embedder import Embedder, Origin, Preparation
from mtl.runtime import devices

PREPARED = Preparation(SIDE, 1, (0.4,), (0.25,), mirror=False)
HEADS = {
    "plain": Head(),
    "levels": Head(levels=3),
    "map": Head(map="linear"),
    "power": Head(power=0.5),
    "all": Head(levels=2, map="linear", power=0.5, normalise=False),
}


def by_the_learner(made, pixels, mirror):
    """The features that meta-test has, from the pieces that evaluation uses."""
    made.eval()
    normalised = Normalise(PREPARED.mean, PREPARED.std)(pixels)
    with torch.no_grad():
        return made.features(normalised, mirror)


@pytest.mark.parametrize("name", ["conv4", "resnet12"])
@pytest.mark.parametrize("train", ["ss", "ss_affine", "all", "head"])
@pytest.mark.parametrize("mirror", [False, True], ids=["plain", "mirror"])
def test_features_are_those_of_the_learner(name, train, mirror):
    made, pixels = learner(name, train=train), images(5)
    before = by_the_learner(made, pixels, mirror)
    prepared = Preparation(SIDE, 1, PREPARED.mean, PREPARED.std, mirror)
    found = Embedder.of(made, prepared, Origin("run", None, Head(), 3))(pixels)
    torch.testing.assert_close(found, before, rtol=1e-4, atol=1e-4)
    other = by_the_learner(learner(name, train=train), pixels, not mirror)
    assert not torch.allclose(found, other, rtol=1e-2)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_features_are_embedded_as_the_base_learner_does(head):
    made, pixels = learner(head=head), images(4)
    before = by_the_learner(made, pixels, False)
    backbone = made.device.forward(made.backbone, Normalise(PREPARED.mean, PREPARED.std)(pixels)).detach()
    found = Embedder.of(made, PREPARED, Origin("run", None, head, 3))(pixels)
    torch.testing.assert_close(found, before, rtol=1e-4, atol=1e-4)
    assert found.shape == (4, sum(made.base_learner.sizes))
    if head == HEADS["power"]:  # one of them by hand
        bent = power_transform(backbone, 0.5)
        wanted = bent / bent.norm(dim=1, keepdim=True) * made.base_learner.log_scale.exp()
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_nothing_of_training_is_left_in_the_network():
    made = embedder("resnet12", train="ss_affine")
    assert not any(parametrize.is_parametrized(module) for module in made.learner.modules())
    assert not any(parameter.requires_grad for parameter in made.learner.parameters())
    assert all(conv.bias is not None for conv in made.learner.modules() if isinstance(conv, nn.Conv2d))
    made.learner.train(noise=torch.Generator())
    first = made(images(4))
    assert torch.equal(made(images(4)[:2]), first[:2])  # not by the statistics of the images at hand
    assert not first.requires_grad


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_how_many_images_pass_together_makes_no_difference(at_once, monkeypatch):
    made, pixels = embedder(mirror=True), images(7)
    together = made(pixels)
    monkeypatch.setattr(devices, "_PIXELS", at_once * SIDE**2)
    assert made.images_at_once == at_once
    passed = []
    made.learner.backbone.register_forward_hook(lambda _, inputs, __: passed.append(len(inputs[0])))
    torch.testing.assert_close(made(pixels), together, rtol=1e-5, atol=1e-6)
    assert max(passed) == at_once
    assert sum(passed) == 2 * 7  # the mirror images too


def test_no_images_have_no_features():
    assert embedder()(images(0)).shape == (0, 6)


@pytest.mark.parametrize(
    "wrong",
    [images(2).float(), images(2, channels=3), images(2, size=32), images(1)[0]],
    ids=["floats", "colour", "large", "one"],
)
def test_other_images_are_refused(wrong):
    with pytest.raises(ValueError, match=r"uint8 of shape \(B, 1, 16, 16\)"):
        embedder()(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size"),
        ({"channels": 2, "mean": (0.5, 0.5), "std": (0.1, 0.1)}, "1 or 3 channels"),
        ({"mean": (0.5, 0.5)}, "each channel"),
        ({"channels": 3}, "each channel"),
        ({"std": (0.0,)}, "positive"),
        ({"std": (math.nan,)}, "finite"),
        ({"mean": (math.inf,)}, "finite"),
    ],
)
def test_a_preparation_whose_parts_do_not_fit_is_refused(change, message):
    parts = {"size": 16, "channels": 1, "mean": (0.5,), "std": (0.2,), "mirror": False}
    with pytest.raises(ValueError, match=message):
        Preparation(**{**parts, **change})


def test_grey_images_go_to_networks_that_know_colours():
    prepared = Preparation(SIDE, 1, (0.1, 0.2, 0.3), (0.5, 0.4, 0.3), mirror=False)
    made, pixels = learner(channels=3), images(3)
    found = Embedder.of(made, prepared, Origin("run", None, Head(), 3))(pixels)
    colour = Preparation(SIDE, 3, prepared.mean, prepared.std, mirror=False)
    wanted = Embedder.of(made, colour, Origin("run", None, Head(), 3))(pixels.expand(-1, 3, -1, -1))
    assert torch.equal(found, wanted)
