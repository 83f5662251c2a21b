"""Devices: what the config names, or a sentence; precision only rounds."""

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Backbone, Runtime
from mtl.errors import UserError
from mtl.models.backbones import build_backbone
from mtl.runtime.devices import choose_device


@pytest.fixture
def bare_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_one_sentence(name):
    with pytest.raises(UserError, match=f"runtime.device: {name} is not available here .available: cpu.$"):
        choose_device(Runtime(device=name))


@pytest.mark.usefixtures("bare_machine")
def test_auto_is_the_processor_where_there_is_nothing_else():
    assert choose_device(Runtime()).torch_device == torch.device("cpu")


def test_auto_is_the_accelerator_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(Runtime()).torch_device == torch.device("cuda")
    assert choose_device(Runtime(device="cpu")).torch_device == torch.device("cpu")


def test_threads_are_set_where_they_are_given():
    before = torch.get_num_threads()
    try:
        choose_device(Runtime(device="cpu", threads=3))
        assert torch.get_num_threads() == 3
        choose_device(Runtime(device="cpu", threads=0))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def _features(precision):
    network = build_backbone(Backbone(channels=(16,) * 4), 3, 32, torch.Generator().manual_seed(0)).eval()
    device = choose_device(Runtime(device="cpu", precision=precision))
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return device.forward(device.place(network), images), network(images)


def test_features_are_those_of_the_plain_network():
    features, plain = _features("float32")
    torch.testing.assert_close(features, plain)


def test_bfloat16_only_rounds_and_comes_back_as_float32():
    features, plain = _features("bfloat16")
    assert features.dtype == torch.float32
    assert not torch.equal(features, plain)
    assert F.cosine_similarity(features, plain).min() > 0.999


def test_what_passes_at_once_is_bound_in_pixels():
    device = choose_device(Runtime(device="cpu"))
    assert device.images_at_once(32) == 1024
    assert device.images_at_once(84) == 148
    assert device.images_at_once(5000) == 1


def test_a_processor_gathers_images_where_they_are():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert choose_device(Runtime(device="cpu")).hold(images) is images
