"""Variants of an image: which there are, and that their features are averaged."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mtl.config import Evaluate
from mtl.data.variants import PLAIN, Variants, variants_of
from mtl.runtime.seeds import generator


def _images(side=8):
    return torch.rand(3, 2, side, side, generator=generator(0, "variants"))


def _features(images):
    weight = torch.randn(images[0].numel(), 5, generator=generator(1))
    return torch.tanh(images.flatten(1) @ weight)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("zoom", [1.0, 2.0])
def test_features_are_the_mean_of_those_of_every_variant(mirror, zoom):
    images = _images()
    # twice as large, the middle quarter is what bilinear interpolation makes of it
    middle = F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)[..., 4:12, 4:12]
    variants = [images] + ([middle] if zoom == 2 else [])
    variants += [one.flip(-1) for one in variants] if mirror else []
    expected = torch.stack([_features(one) for one in variants]).mean(0)
    torch.testing.assert_close(Variants(mirror, zoom).features(_features, images), expected)


def test_without_variants_nothing_is_computed_twice():
    seen = []
    PLAIN.features(lambda images: seen.append(images) or images, images := _images())
    assert len(seen) == 1
    assert seen[0] is images


@given(st.floats(1, 4))
def test_a_mirror_image_has_the_features_of_the_image(zoom):
    images, both = _images(), Variants(True, zoom)
    torch.testing.assert_close(
        both.features(_features, images), both.features(_features, images.flip(-1)), rtol=1e-4, atol=1e-4
    )


def test_a_config_names_them():
    assert variants_of(Evaluate()) == PLAIN
    assert variants_of(Evaluate(mirror=True, zoom=1.3)) == Variants(True, 1.3)
