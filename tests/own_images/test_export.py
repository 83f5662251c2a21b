"""The forms that other programs run: they answer as the classifier, and say what they want."""

import json
from dataclasses import replace

import pytest
import torch
from made_classifiers import embedder, fitted, images

from mtl.config import Head
from mtl.models.backbones import FromLibrary
from mtl.own_images.export import FittedNetwork, about, largest_difference, packed, trial_images, unpacked


def transformer() -> FromLibrary:
    """A vision transformer, as torchvision builds it, of two small layers."""
    from torchvision.models import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VisionTransformer(16, 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8)
    network.heads = torch.nn.Identity()
    return FromLibrary(network, 8, ())


def case(name):
    if name == "conv4":
        return embedder(mirror=True, head=Head(levels=2, map="linear", power=0.5, name="prototype"))
    if name == "resnet12":
        return embedder("resnet12", channels=3)
    return embedder("torchvision.vit", network=transformer(), channels=3)


@pytest.mark.parametrize(
    ("name", "form"),
    [("conv4", "torch_export"), ("conv4", "onnx"), ("resnet12", "onnx"), ("transformer", "onnx")],
)
def test_answers_are_those_of_the_classifier(name, form):
    whole = fitted(case(name))
    pixels = images(11, whole.embedder.preparation.channels, seed=1)
    logits = whole.head(whole.embedder(pixels)[None])
    whole = replace(whole, temperature=float(logits.std()))  # neither sure nor at a loss
    told = about(whole)
    answer, read = unpacked(packed(FittedNetwork(whole), form, told), form)
    assert read == json.loads(json.dumps(told))
    assert largest_difference(answer, whole, pixels) < 1e-4  # by 1, 2, 3, 4 and 1 at once
    warmer = replace(whole, temperature=1.1 * whole.temperature)
    assert largest_difference(answer, warmer, pixels) > 2e-3


def test_what_goes_in_and_comes_out_is_said():
    whole = fitted(embedder(channels=3), classes=("a\udcff", "b", "ж"))
    told = about(whole)
    assert told["images"]["shape"] == ["batch", 3, 16, 16]
    assert told["images"]["dtype"] == "uint8"
    assert told["images"]["channels"] == "red, green, blue"
    assert "middle square" in told["images"]["prepare"][-1]
    assert "16 x 16 pixels, with a Lanczos filter" in told["images"]["prepare"][-1]
    assert told["probabilities"]["shape"] == ["batch", 3]
    assert told["classes"] == ["a\udcff", "b", "ж"]
    assert json.dumps(told).isascii()
    assert about(fitted(embedder()))["images"]["channels"] == "grey"


def test_trial_images_are_plain_ones_noise_and_those_between():
    prepared = embedder(channels=3).preparation
    found = trial_images(prepared, 10)
    assert (found.shape, found.dtype) == ((10, 3, 16, 16), torch.uint8)
    assert torch.equal(found, trial_images(prepared, 10))
    colours = [len(set(image[0].flatten().tolist())) for image in found]
    assert (colours[0], colours[1]) == (1, 4)
    assert min(colours[4:8]) > 100


def test_the_largest_difference_is_found_wherever_it_is():
    whole, pixels = fitted(embedder()), images(12)
    network = FittedNetwork(whole)
    asked = []

    def wrong_for_one(part):
        asked.append(len(part))
        answers = network(part)
        same = (part == pixels[7]).flatten(1).all(1)
        answers[same, 0] += 0.03
        return answers

    assert largest_difference(network, whole, pixels) < 1e-6
    assert largest_difference(wrong_for_one, whole, pixels) == pytest.approx(0.03, abs=1e-6)
    assert asked == [1, 2, 3, 4, 2]
