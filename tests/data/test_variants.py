"""Variants of an image: which there are, and that their features are averaged."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mtl.config import Augment, load_config
from mtl.data.augment import moved
from mtl.data.variants import _DESIGNS, PLAIN, Moves, Variants, variants_of
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


def _moved(images, rotate=0.0, shear=0.0, zoom=1.0, right=0.0, down=0.0):
    """Square images turned after they were sheared, resized and shifted, by torch's grids."""
    across = math.radians(rotate)
    c, s, lean = math.cos(across) / zoom, math.sin(across) / zoom, math.tan(math.radians(shear))
    theta = torch.tensor([[c, c * lean - s, 2 * right], [s, s * lean + c, 2 * down]])
    grid = F.affine_grid(theta.expand(len(images), 2, 3), images.shape, align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@pytest.mark.parametrize("copies", [4, 8])
@pytest.mark.parametrize(
    ("moves", "each"),
    [
        ({"rotate": 9.0}, [{"rotate": s * 9.0} for s in (1, -1)]),
        ({"shear": 7.0}, [{"shear": s * 7.0} for s in (1, -1)]),
        ({"scale": 0.2}, [{"zoom": z} for z in (1.2, 1 / 1.2)]),
        ({"translate": 0.1}, [{"right": x * 0.1, "down": y * 0.1} for x in (1, -1) for y in (1, -1)]),
    ],
)
def test_copies_are_moved_both_ways(moves, each, copies):
    images = _images()
    expected = torch.stack([_features(one) for one in [images, *(_moved(images, **m) for m in each)]]).mean(0)
    found = Variants(moves=Moves(**moves, copies=copies)).features(_features, images)
    torch.testing.assert_close(found, expected)


def test_the_first_of_eight_copies_is_moved_forwards_in_all_ways():
    images, moves = _images(), Moves(9, 7, 0.2, 0.1)
    found = moved(images, moves.transforms(8)[0].expand(3, 2, 3))
    torch.testing.assert_close(found, _moved(images, 9, 7, 1.2, 0.1, 0.1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("copies", [4, 8])
def test_every_way_is_tried_as_often_and_in_eight_with_every_other(copies):
    design = torch.tensor(_DESIGNS[copies])
    assert design.shape == (copies, 5)
    assert design.sum(0).tolist() == [0] * 5
    together = design.T @ design
    assert torch.equal(together, copies * torch.eye(5, dtype=torch.int64)) == (copies == 8)


def test_pixels_of_a_crop_add_to_the_translation():
    images, both = _images(8), Variants(moves=Moves(translate=0.125, crop=1))
    torch.testing.assert_close(
        both.features(_features, images), Variants(moves=Moves(translate=0.25)).features(_features, images)
    )
    corner = moved(images, both.moves.transforms(8)[0].expand(3, 2, 3))  # two of eight pixels each way
    torch.testing.assert_close(corner[..., :-2, :-2], images[..., 2:, 2:])


def test_copies_that_are_alike_count_once():
    moves = Moves.of(Augment(rotate=10, shear=4, scale=0.2, translate=0.1, crop=2, flip=True), 0.5, 8)
    assert moves == Moves(rotate=5, shear=2, scale=0.1, translate=0.05, crop=1)
    assert len(moves.transforms(16)) == 8
    assert len(replace(moves, copies=4).transforms(16)) == 4
    assert len(Moves(crop=1).transforms(16)) == 4
    assert len(Moves().transforms(16)) == 0


def test_a_config_names_them():
    assert variants_of(load_config(None)) == PLAIN
    keys = ["evaluate.mirror=true", "evaluate.zoom=1.3", "evaluate.moves=0.5", "data.augment.rotate=10"]
    assert variants_of(load_config(None, keys)) == Variants(True, 1.3, Moves(rotate=5))
    keys += ["evaluate.copies=4"]
    assert variants_of(load_config(None, keys)) == Variants(True, 1.3, Moves(rotate=5, copies=4))
