"""Near copies as cameras and programs make them, against pictures that differ."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from mtl.data.near_copies import SIDE, at_rest, near_copies, same_in_place, thumbnails

BIG = 96


def scene(seed):
    """A picture with details of several sizes."""
    random = np.random.default_rng(seed)
    layers = [random.random((n, n, 3)) * 255 for n in (4, 8, 16)]
    parts = [
        np.asarray(Image.fromarray(x.astype(np.uint8)).resize((BIG, BIG), Image.Resampling.BICUBIC), float)
        for x in layers
    ]
    return Image.fromarray(np.mean(parts, 0).astype(np.uint8))


def noisy(picture, size=6, seed=0):
    pixels = np.asarray(picture, float)
    noise = np.random.default_rng(seed).normal(0, size, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def saved(picture, quality=50):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def moved(picture, turn=0, shift=(0, 0)):
    return picture.rotate(turn, Image.Resampling.BICUBIC, translate=shift)


def cut(picture, pixels=4):
    return picture.crop((pixels, pixels, BIG - pixels, BIG - pixels)).resize((BIG, BIG))


COPIES = {
    "noise": noisy,
    "brighter": lambda x: ImageEnhance.Brightness(x).enhance(1.15),
    "paler": lambda x: ImageEnhance.Contrast(x).enhance(0.8),
    "saved again": saved,
    "shifted": lambda x: moved(x, shift=(5, -4)),
    "turned": lambda x: moved(x, 4),
    "cut": cut,
    "mirrored": ImageOps.mirror,
    "smaller": lambda x: x.resize((BIG // 2, BIG // 2)).resize((BIG, BIG)),
    "frame of a burst": lambda x: saved(noisy(moved(x, 2, (2, 3)), 4), 75),
    "mirrored and cut": lambda x: saved(cut(ImageOps.mirror(x), 3), 75),
}


def small(*pictures):
    pixels = np.stack([np.asarray(x.convert("RGB")) for x in pictures])
    return thumbnails(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def pairs(pictures, labels):
    return [(i, j) for i, j, _ in near_copies(pictures, torch.tensor(labels))]


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
def test_a_copy_is_found_and_no_other_picture(copy):
    pictures = small(scene(0), copy(scene(1)), scene(2), scene(1), scene(3))
    assert pairs(pictures, [0, 0, 0, 0, 0]) == [(1, 3)]


def test_copies_are_sought_within_a_class():
    assert pairs(small(scene(0), noisy(scene(0)), noisy(scene(0), seed=1)), [0, 1, 0]) == []
    assert pairs(small(scene(0), scene(1), noisy(scene(0))), [0, 1, 0]) == [(0, 2)]


def test_before_one_background_different_things_are_different_pictures():
    def thing(seed):
        room = scene(9)
        room.paste(scene(seed).resize((14, 14)), (40, 40))
        return room

    things = [thing(seed) for seed in range(6)]
    assert pairs(small(*things), [0, 0, 0, 1, 1, 1]) == []
    burst = [noisy(thing(0), 1, seed) for seed in range(2)]
    assert pairs(small(*burst, *things[3:]), [0, 0, 1, 1, 1]) == [(0, 1)]


def test_pictures_without_detail_are_no_copies():
    plain = torch.stack([torch.full((SIDE, SIDE), level, dtype=torch.uint8) for level in (0, 0, 90, 90)])
    assert near_copies(plain, torch.zeros(4, dtype=torch.int64)) == []
    assert not same_in_place(plain, at_rest(plain)).any()


def test_more_pictures_than_are_compared_at_once():
    pictures = small(*[scene(seed) for seed in range(100)], noisy(scene(3)), noisy(scene(98)))
    assert sorted(pairs(pictures, [0] * 102)) == [(3, 100), (98, 101)]


def test_a_picture_saved_again_lies_over_itself():
    others = at_rest(small(scene(2), scene(0)))
    found = same_in_place(small(saved(scene(0)), scene(1), moved(scene(2), 30)), others)
    assert found.tolist() == [[False, True], [False, False], [False, False]]


def test_what_was_compared_before_gives_the_same_pairs_with_other_labels():
    pictures = small(*(x for i in range(3) for x in (scene(i), noisy(scene(i)))))
    compared = {}
    for labels in ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]):
        known = torch.tensor(labels)
        wanted = near_copies(pictures, known)
        assert [pair[:2] for pair in wanted] == [(i, i + 1) for i in (0, 2, 4) if labels[i] == labels[i + 1]]
        assert near_copies(pictures, known, compared=compared) == wanted
