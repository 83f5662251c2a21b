"""The fitted classifier as one network: the same answers, and a form that can be traced."""

import pytest
import torch
from made_classifiers import HEADS, embedder, fitted, images

from mtl.config import Head
from mtl.own_images.export import FittedNetwork

CASES = {
    **{name: {"head": head} for name, head in HEADS.items()},
    "levels, map, power": {"head": Head(levels=2, map="linear", power=0.5, normalise=False)},
    "mirror, colour": {"mirror": True, "channels": 3},
    "resnet12": {"name": "resnet12", "mirror": True},
    "resnet12, all": {"name": "resnet12", "train": "all", "head": HEADS["cosine prototypes"]},
}


@pytest.mark.parametrize("how", CASES.values(), ids=CASES.keys())
def test_probabilities_are_those_of_the_classifier(how):
    whole = fitted(embedder(**how))
    pixels = images(6, whole.embedder.preparation.channels, seed=1)
    wanted = whole.answer(whole.embedder(pixels)).probabilities
    network = FittedNetwork(whole)
    found = network(pixels)
    assert (found.shape, found.dtype, found.requires_grad) == ((6, 3), torch.float32, False)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2e-6)
    # a classifier that is sure of everything would pass with any temperature, and any pixels
    assert wanted.amax(1).min() < 0.9
    assert not torch.allclose(found, network(pixels.flip(-1)), atol=1e-4) or how.get("mirror")
    assert torch.equal(network(pixels[2:3]).argmax(1), found[2:3].argmax(1))


def test_mirror_images_count_where_the_run_says_so():
    network = FittedNetwork(fitted(embedder(mirror=True)))
    pixels = images(4)
    torch.testing.assert_close(network(pixels), network(pixels.flip(-1)))


def test_it_is_computed_in_full_precision_whatever_the_run_did():
    low = fitted(embedder(precision="bfloat16"))
    pixels = images(6, seed=1)
    whole = FittedNetwork(low)(pixels)
    rounded = low.answer(low.embedder(pixels)).probabilities.float()
    assert 1e-5 < (whole - rounded).abs().max() < 0.1


def test_the_classifier_stays_as_it_is():
    whole = fitted(embedder(), (2, 2, 2))
    before = whole.embedder(images(3))
    network = FittedNetwork(whole)
    for parameter in network.parameters():
        parameter.zero_()
    assert torch.equal(whole.embedder(images(3)), before)
    assert not any(parameter.requires_grad for parameter in network.parameters())
