"""Variants of an image: which there are, and that their features are averaged."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mtl.config import Augment, load_config
from mtl.data.augment import moved
from mtl.data.variants import PLAIN, Moves, Variants, variants_of
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


def _unmoved(images, name, amount):
    """Copies of square images moved both ways, by torch's own affine_grid and grid_sample."""
    across, along, found = math.radians(amount), math.tan(math.radians(amount)), []
    for sign in (1, -1):
        c, s, zoom = math.cos(across), sign * math.sin(across), (1 + amount) ** sign
        matrices = {
            "rotate": [[[c, -s, 0], [s, c, 0]]],
            "shear": [[[1, sign * along, 0], [0, 1, 0]]],
            "scale": [[[1 / zoom, 0, 0], [0, 1 / zoom, 0]]],
            "translate": [[[1, 0, 2 * sign * amount], [0, 1, 0]], [[1, 0, 0], [0, 1, 2 * sign * amount]]],
        }
        for matrix in matrices[name]:
            theta = torch.tensor(matrix).float().expand(len(images), 2, 3)
            grid = F.affine_grid(theta, images.shape, align_corners=False)
            found.append(F.grid_sample(images, grid, padding_mode="border", align_corners=False))
    return found


@pytest.mark.parametrize(
    ("name", "amount"), [("rotate", 9.0), ("shear", 7.0), ("scale", 0.2), ("translate", 0.1)]
)
def test_copies_are_moved_both_ways(name, amount):
    images = _images()
    expected = torch.stack([_features(one) for one in [images, *_unmoved(images, name, amount)]]).mean(0)
    moves = Moves(**{name: amount})
    torch.testing.assert_close(Variants(moves=moves).features(_features, images), expected)


def test_pixels_of_a_crop_add_to_the_translation():
    images, both = _images(8), Variants(moves=Moves(translate=0.125, crop=1))
    torch.testing.assert_close(
        both.features(_features, images), Variants(moves=Moves(translate=0.25)).features(_features, images)
    )
    right = moved(images, both.moves.transforms(8)[1].expand(3, 2, 3))  # two of eight pixels
    torch.testing.assert_close(right[..., 2:], images[..., :-2])


def test_each_kind_of_move_adds_its_copies():
    moves = Moves.of(Augment(rotate=10, shear=4, scale=0.2, translate=0.1, crop=2, flip=True), 0.5)
    assert moves == Moves(rotate=5, shear=2, scale=0.1, translate=0.05, crop=1)
    assert len(moves.transforms(16)) == 2 + 2 + 2 + 4
    assert len(Moves().transforms(16)) == 0


def test_a_config_names_them():
    assert variants_of(load_config(None)) == PLAIN
    keys = ["evaluate.mirror=true", "evaluate.zoom=1.3", "evaluate.moves=0.5", "data.augment.rotate=10"]
    assert variants_of(load_config(None, keys)) == Variants(True, 1.3, Moves(rotate=5))
