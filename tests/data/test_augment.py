import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.config import Augment
from mtl.data.augment import Normalise, augment, moved, turned

EACH = {
    "crop": 3,
    "flip": True,
    "rotate": 20.0,
    "translate": 0.2,
    "scale": 0.3,
    "shear": 10.0,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
}


def noise(count=32, size=12, channels=3):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, size, size), generator=random, dtype=torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_changes_nothing():
    images = noise()
    assert torch.equal(augment(images, Augment(), seeded()), images.float())


@pytest.mark.parametrize("name", list(EACH))
def test_every_image_of_a_batch_gets_its_own_change(name):
    copies = noise(1).expand(32, -1, -1, -1)
    out = augment(copies, Augment(**{name: EACH[name]}), seeded())
    assert len(out.flatten(1).unique(dim=0)) >= (2 if name == "flip" else 16)


@pytest.mark.parametrize("name", list(EACH))
def test_a_change_follows_from_the_generator_alone(name):
    how = Augment(**{name: EACH[name]})
    first = augment(noise(), how, seeded(1))
    torch.manual_seed(5)
    assert torch.equal(augment(noise(), how, seeded(1)), first)
    assert not torch.equal(augment(noise(), how, seeded(2)), first)


@given(padding=st.integers(1, 5), seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_a_crop_is_one_window_of_the_padded_image(padding, seed):
    images, places = noise(16), set()
    for image, out in zip(images, augment(images, Augment(crop=padding), seeded(seed)), strict=True):
        padded = F.pad(image.float(), (padding,) * 4)
        offsets = range(2 * padding + 1)
        found = [
            (top, left)
            for top in offsets
            for left in offsets
            if torch.equal(padded[:, top : top + 12, left : left + 12], out)
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 1


def test_crops_reach_every_offset_about_as_often():
    pixel = torch.zeros(9000, 1, 3, 3, dtype=torch.uint8)
    pixel[:, :, 1, 1] = 255
    out = augment(pixel, Augment(crop=1), seeded())
    share = (out[:, 0] > 0).float().mean(0)
    torch.testing.assert_close(share, torch.full((3, 3), 1 / 9), atol=0.02, rtol=0)


def test_a_flip_mirrors_about_half_of_the_images_and_leaves_the_rest():
    images = noise(400)
    out = augment(images, Augment(flip=True), seeded())
    mirrored = [torch.equal(o, i.float().flip(-1)) for i, o in zip(images, out, strict=True)]
    kept = [torch.equal(o, i.float()) for i, o in zip(images, out, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 150 < sum(mirrored) < 250


@pytest.mark.parametrize("name", ["rotate", "translate", "scale", "shear"])
def test_a_vanishing_affine_change_is_the_identity(name):
    out = augment(noise(), Augment(**{name: 1e-9}), seeded())
    torch.testing.assert_close(out, noise().float(), atol=1e-2, rtol=0)


def test_a_rotation_keeps_shape_and_a_zoom_scales_it():
    square = torch.zeros(64, 1, 33, 33, dtype=torch.uint8)
    square[:, :, 11:22, 11:22] = 255
    turned = augment(square, Augment(rotate=45), seeded())
    torch.testing.assert_close(turned.sum((1, 2, 3)), torch.full((64,), 255.0 * 121), atol=255 * 4, rtol=0)
    sheared = augment(square, Augment(shear=20), seeded())
    torch.testing.assert_close(sheared.sum((1, 2, 3)), torch.full((64,), 255.0 * 121), atol=255 * 4, rtol=0)
    zoomed = augment(square, Augment(scale=0.25), seeded()).sum((1, 2, 3)) / (255 * 121)
    assert zoomed.min() < 0.7
    assert zoomed.max() > 1.4
    assert zoomed.min() > 0.75**2 - 0.05
    assert zoomed.max() < 1.25**2 + 0.05


def test_a_shift_stays_within_its_share_of_the_side():
    dot = torch.zeros(500, 1, 41, 41, dtype=torch.uint8)
    dot[:, :, 20, 20] = 255
    out = augment(dot, Augment(translate=0.25), seeded())[:, 0]
    ink = out / out.sum((1, 2), keepdim=True)
    for axis in (1, 2):
        centre = (ink.sum(3 - axis) * torch.arange(41.0)).sum(1) - 20
        assert centre.abs().max() <= 0.25 * 41 + 0.01
        assert centre.abs().max() > 0.22 * 41


@given(
    how=st.builds(
        Augment,
        crop=st.integers(0, 4),
        flip=st.booleans(),
        rotate=st.floats(0, 180),
        translate=st.floats(0, 1),
        scale=st.floats(0, 0.9),
        shear=st.floats(0, 45),
        brightness=st.floats(0, 0.9),
        contrast=st.floats(0, 0.9),
        saturation=st.floats(0, 0.9),
    ),
    channels=st.sampled_from([1, 3]),
)
@settings(deadline=None, max_examples=50)
def test_images_keep_shape_and_range(how, channels):
    images = noise(4, channels=channels)
    out = augment(images, how, seeded())
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert out.min() >= -1e-3
    assert out.max() <= 255 + 1e-3


def test_saturation_leaves_grey_as_it_is_and_contrast_the_mean():
    grey = noise(8, channels=1).expand(-1, 3, -1, -1)
    out = augment(grey, Augment(saturation=0.5), seeded())
    torch.testing.assert_close(out, grey.float(), atol=1e-3, rtol=0)
    middling = noise(8) // 4 + 96
    out = augment(middling, Augment(contrast=0.2), seeded())
    torch.testing.assert_close(out.mean((1, 2, 3)), middling.float().mean((1, 2, 3)))


def test_affine_grids_are_those_of_torch():
    random = torch.Generator().manual_seed(0)
    images, theta = torch.rand(5, 3, 9, 7, generator=random), torch.randn(5, 2, 3, generator=random)
    grid = F.affine_grid(theta, [5, 3, 9, 7], align_corners=False)
    expected = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(moved(images, theta), expected, atol=1e-5, rtol=1e-5)


def test_colours_are_brightness_then_contrast_then_saturation():
    how = Augment(brightness=0.3, contrast=0.3, saturation=0.3)
    random, images = seeded(3), noise(6).float()
    brightness, contrast, saturation = (
        (1 + (torch.rand(6, generator=random) * 2 - 1) * 0.3).view(-1, 1, 1, 1) for _ in range(3)
    )
    lit = images * brightness
    stretched = torch.lerp(lit.mean((1, 2, 3), keepdim=True), lit, contrast)
    expected = torch.lerp(stretched.mean(1, keepdim=True), stretched, saturation).clamp(0, 255)
    torch.testing.assert_close(augment(noise(6), how, seeded(3)), expected, atol=1e-3, rtol=1e-5)


def test_normalise_is_exact_for_each_channel():
    images = noise(4)
    out = Normalise((0.1, 0.5, 0.9), (0.2, 0.3, 0.4))(images)
    for channel, (mean, std) in enumerate(((0.1, 0.2), (0.5, 0.3), (0.9, 0.4))):
        expected = (images[:, channel].double() / 255 - mean) / std
        torch.testing.assert_close(out[:, channel].double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        Normalise((0.1,) * 3, (0.2,) * 3)(images.float()), Normalise((0.1,) * 3, (0.2,) * 3)(images)
    )


@given(share=st.floats(0, 1), seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_turned_images_are_turned_by_the_angles_given(share, seed):
    images = noise(40)
    out, angles = turned(images, share, seeded(seed))
    assert all(
        torch.equal(a, torch.rot90(b, int(k), (1, 2))) for a, b, k in zip(out, images, angles, strict=True)
    )
    assert share > 0 or not angles.any()
    assert share < 1 or angles.all()


def test_the_share_of_turned_images_is_the_one_given_and_angles_are_equally_likely():
    _, angles = turned(torch.zeros(40_000, 1, 2, 2), 0.6, seeded())
    found = torch.bincount(angles, minlength=4) / len(angles)
    assert torch.allclose(found, torch.tensor([0.4, 0.2, 0.2, 0.2]), atol=0.01)


def test_a_part_of_a_batch_is_turned_as_in_the_whole():
    images, rows = noise(), torch.tensor([3, 4, 20])
    whole, angles = turned(images, 0.7, seeded())
    part, all_angles = turned(images[rows], 0.7, seeded(), rows, len(images))
    assert torch.equal(part, whole[rows])
    assert torch.equal(angles, all_angles)
