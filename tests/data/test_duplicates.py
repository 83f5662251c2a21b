import io
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.ndimage import uniform_filter

from mtl.data import ImageSet
from mtl.data import duplicates as module
from mtl.data.decode import decode_classes, to_tensor
from mtl.data.duplicates import (
    ALIKE,
    COLOUR,
    DETAIL,
    LOCAL,
    Copies,
    Pair,
    Signatures,
    exact_copies,
    find_copies,
    near_pairs,
    signatures,
    surplus,
)
from mtl.data.folders import class_folders, image_files


def noise(*numbers, side=16, channels=3):
    """An image of noise for each number: detail in every cell, and none alike."""
    made = [torch.Generator().manual_seed(n) for n in numbers]
    return torch.stack(
        [torch.randint(0, 256, (channels, side, side), generator=g, dtype=torch.uint8) for g in made]
    )


def image_set(images, labels, prefix):
    names = tuple(f"{prefix}{c}" for c in range(max(labels) + 1))
    return ImageSet(images, torch.tensor(labels), names)


class Reference:
    """What an image of 16 × 16 is compared by, in float64."""

    def __init__(self, image):
        pixels = image.numpy().astype(np.float64)
        grey = pixels[0] if len(pixels) == 1 else np.tensordot([0.299, 0.587, 0.114], pixels, 1)
        detail = (grey - uniform_filter(grey, 3, mode="nearest")).ravel()
        root = np.sign(detail) * np.sqrt(np.abs(detail))
        self.root = (root - root.mean()) / np.linalg.norm(root - root.mean())
        self.spread = np.abs(detail).sum() ** 2 / (detail**2).sum()
        self.grey = ((grey - grey.mean()) / grey.std()).ravel()
        cells = pixels.reshape(len(pixels), 4, 4, 4, 4).mean((2, 4))
        apart = [cells[0] - cells[1], cells[2] - cells[1]] if len(pixels) == 3 else [np.zeros((4, 4))] * 2
        self.colour = np.ravel(apart)


def is_near(one, other):
    a, b = Reference(one), Reference(other)
    return bool(
        min(a.spread, b.spread) >= DETAIL
        and a.root @ b.root >= module.ALIKE
        and np.abs(a.grey - b.grey).max() <= module.LOCAL
        and np.abs(a.colour - b.colour).mean() <= COLOUR
    )


def by_first_cell(correlation):
    """Of two images with a given correlation, alike in all else."""
    detail = torch.zeros(2, 256)
    detail[0, 0] = 1
    detail[1, :2] = torch.tensor([correlation, (1 - correlation**2) ** 0.5])
    return Signatures(detail, torch.zeros(2, 256), torch.zeros(2, 32))


def found_near(images, block=1024):
    parts = near_pairs(signatures(images), torch.arange(len(images)), block)
    return {pair for one, other in parts for pair in zip(one.tolist(), other.tolist(), strict=True)}


def mixtures(of, channels=1):
    """Images between two of four pictures: (one, other, how many tenths of the other)."""
    base = noise(*range(4), channels=channels).double()
    return torch.stack([base[a] + (base[b] - base[a]) * tenths / 10 for a, b, tenths in of]).round().byte()


MIXTURES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=14
)


@given(values=st.lists(st.integers(0, 3), max_size=12), cut=st.integers(0, 12))
@settings(deadline=None)
def test_exact_copies_are_those_of_a_direct_comparison(values, cut):
    images = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    assert exact_copies([images[:cut], images[cut:]]).tolist() == [values.index(value) for value in values]


@pytest.mark.parametrize("channels", [1, 3])
def test_signatures_are_those_of_a_reference_in_double_precision(channels):
    images = noise(1, 2, 3, channels=channels)
    found = signatures(images)
    for i, expected in enumerate(map(Reference, images)):
        assert np.allclose(found.detail[i].double(), expected.root, atol=1e-5)
        assert np.allclose(found.grey[i].double(), expected.grey, atol=1e-5)
        assert np.allclose(found.colour[i].double(), expected.colour, atol=1e-3)


@given(of=MIXTURES, block=st.sampled_from([1, 2, 3, 5, 1024]), channels=st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=40)
def test_near_pairs_are_those_of_all_pairs_compared_one_by_one(of, block, channels):
    images = mixtures(of, channels)
    expected = {
        (i, j) for i, j in itertools.combinations(range(len(images)), 2) if is_near(images[i], images[j])
    }
    assert found_near(images, block) == expected


@given(of=MIXTURES, block=st.sampled_from([1, 2, 3, 1024]))
@settings(deadline=None, max_examples=40)
def test_pairs_come_in_an_order_in_which_the_earlier_image_is_decided_on(of, block):
    parts = near_pairs(signatures(mixtures(of)), torch.arange(len(of)), block)
    pairs = [pair for one, other in parts for pair in zip(one.tolist(), other.tolist(), strict=True)]
    for i, (earlier, later) in enumerate(pairs):
        assert earlier < later
        assert all(after != earlier for _, after in pairs[i:])


def test_images_that_are_not_among_those_asked_for_are_in_no_pair():
    images = noise(1, 2, 1, 2, 1)
    parts = near_pairs(signatures(images), torch.tensor([0, 1, 3]))
    assert [(a.tolist(), b.tolist()) for a, b in parts] == [([1], [3])]


@pytest.mark.parametrize(("correlation", "near"), [(ALIKE + 1e-4, 1), (ALIKE - 1e-4, 0)])
def test_the_correlation_that_counts(correlation, near):
    assert len(list(near_pairs(by_first_cell(correlation), torch.arange(2)))) == near


@pytest.mark.parametrize(
    ("which", "cells", "difference", "near"),
    [
        ("grey", 1, LOCAL - 1e-3, 1),
        ("grey", 1, LOCAL + 1e-3, 0),
        ("colour", 16, 2 * COLOUR - 0.1, 1),
        ("colour", 16, 2 * COLOUR + 0.1, 0),
    ],
)
def test_the_differences_that_tell_two_images_apart(which, cells, difference, near):
    found = by_first_cell(1.0)
    getattr(found, which)[1, :cells] = difference
    assert sum(len(earlier) for earlier, _ in near_pairs(found, torch.arange(2))) == near


def saved(image, quality):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


SAME: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved at quality 50": lambda image: saved(image, 50),
    "half the size": lambda image: image.resize((96, 96), Image.Resampling.LANCZOS),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "cut by a row and a column": lambda image: image.crop((1, 0, 192, 191)),
}
OTHER: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.rotate(90),
    "cut by a tenth": lambda image: image.crop((20, 20, 192, 192)),
    "in other colours": lambda image: Image.merge("RGB", image.split()[::-1]),
    "negative": lambda image: image.point(lambda value: 255 - value),
}


@pytest.mark.parametrize("change", [*SAME, *OTHER])
def test_what_counts_as_the_same_picture(change, photograph):
    pictures = [photograph(n, 192) for n in range(6)]
    changed = [{**SAME, **OTHER}[change](picture) for picture in pictures]
    images = torch.stack([to_tensor(picture, 48, False) for picture in [*pictures, *changed]])
    assert found_near(images) == ({(n, n + 6) for n in range(6)} if change in SAME else set())


def test_images_without_detail_are_near_none():
    ramp = torch.arange(32, dtype=torch.uint8).expand(1, 32, 32)
    flat = [torch.full((1, 32, 32), value, dtype=torch.uint8) for value in (0, 1, 128, 255)]
    line = torch.zeros(1, 32, 32, dtype=torch.uint8)
    line[:, 4:28, 15:17] = 255
    shorter = line.clone()
    shorter[:, 26:] = 0
    images = torch.stack([*flat, ramp, ramp + 1, line, shorter])
    assert found_near(images) == set()
    assert bool((signatures(images).detail == 0).all())


def test_a_frame_in_common_does_not_make_two_pictures_one(photograph):
    framed = []
    for n in range(4):
        picture = Image.new("RGB", (96, 96), "white")
        picture.paste(ImageEnhance.Contrast(photograph(n, 80)).enhance(0.5), (8, 8))
        framed.append(to_tensor(picture, 48, False))
    assert found_near(torch.stack(framed)) == set()


def test_two_things_before_one_background_are_two_pictures(photograph):
    background, pictures = photograph(0, 96), []
    for n in (1, 2):
        picture = background.copy()
        picture.paste(ImageEnhance.Brightness(photograph(n, 24)).enhance(n / 2), (40, 30))
        pictures.append(to_tensor(picture, 48, False))
    images = torch.stack(pictures)
    one, other = signatures(images).detail
    assert one @ other > ALIKE  # it is the test of each cell that tells them apart
    assert found_near(images) == set()


def test_pairs_are_counted_by_where_they_are():
    a, b, c, d, e = noise(*range(5))
    near_c = c.clone()
    near_c[:, 0, 0] ^= 16
    train = image_set(torch.stack([a, a, b, c, d]), [0, 0, 0, 1, 1], "train")
    val = image_set(torch.stack([near_c, e]), [0, 0], "val")
    test = image_set(torch.stack([d, d, e]), [0, 0, 1], "test")
    copies = find_copies([train, val, test])
    assert copies.first.tolist() == [0, 0, 2, 3, 4, 5, 6, 4, 4, 6]
    assert copies.counts == {"splits": (3, 1), "classes": (0, 0), "class": (1, 0)}
    assert copies.pairs == (
        Pair(4, 7, True, "splits"),
        Pair(4, 8, True, "splits"),
        Pair(6, 9, True, "splits"),
        Pair(3, 5, False, "splits"),
        Pair(0, 1, True, "class"),
    )
    assert copies.crossing.nonzero().flatten().tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert surplus(copies).nonzero().flatten().tolist() == [1, 3, 4, 5, 6, 7, 8, 9]


def test_a_copy_in_another_class_of_the_split_is_of_no_use_either():
    images = noise(1, 1, 1, 2)
    copies = find_copies([image_set(images, [0, 0, 1, 1], "c")])
    assert copies.counts == {"splits": (0, 0), "classes": (1, 0), "class": (1, 0)}
    assert surplus(copies).tolist() == [True, True, True, False]


def test_a_picture_that_is_like_one_left_out_alone_stays():
    angles = torch.tensor([0.0, 0.3, 0.6, 0.9])  # each is near the next alone: cos 0.3 = 0.96, cos 0.6 = 0.83
    detail = torch.zeros(4, 256)
    detail[:, 0], detail[:, 1] = angles.cos(), angles.sin()
    found = Signatures(detail, torch.zeros(4, 256), torch.zeros(4, 32))
    none = torch.zeros(4, dtype=torch.bool)
    assert surplus(Copies(torch.arange(4), none, found, {}, ())).tolist() == [False, True, False, True]


def test_of_every_kind_the_first_pairs_are_noted_and_all_are_counted():
    copies = find_copies([image_set(noise(*[1] * 9, *[2] * 9), [0] * 18, "c")])
    assert copies.counts["class"] == (16, 0)
    of_one = [Pair(0, i, True, "class") for i in range(1, 9)]
    assert copies.pairs == (*of_one, Pair(9, 10, True, "class"), Pair(9, 11, True, "class"))


@given(of=MIXTURES, labels=st.lists(st.integers(0, 2), min_size=14, max_size=14), cut=st.integers(0, 14))
@settings(deadline=None, max_examples=40)
def test_what_is_left_out_is_what_a_direct_comparison_leaves_out(of, labels, cut):
    images, labels = mixtures(of), labels[: len(of)]
    parts = [
        image_set(images[a], labels[a], prefix)
        for a, prefix in ((slice(cut), "a"), (slice(cut, None), "b"))
        if labels[a]
    ]
    classes = [(i < cut, label) for i, label in enumerate(labels)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ALIKE", 0.75)
        patch.setattr(module, "LOCAL", 2.0)  # so that chains come about: one near two that are not near
        copies = find_copies(parts)
        out = surplus(copies).tolist()
        first = copies.first.tolist()
        same = [[a == b or is_near(images[a], images[b]) for b in first] for a in first]
    everything = range(len(of))
    crossing = [any(same[i][j] and classes[i] != classes[j] for j in everything) for i in everything]
    assert copies.crossing.tolist() == crossing
    kept: list[int] = []
    for i in everything:
        if not crossing[i] and not any(same[i][j] for j in kept):
            kept.append(i)
    assert [i for i in everything if not out[i]] == kept


def test_grey_sets_and_empty_splits_are_searched(photograph):
    grey = torch.stack([to_tensor(photograph(n), 32, True) for n in (1, 1, 2)])
    empty = ImageSet(grey[:0], torch.empty(0, dtype=torch.int64), ("a",))
    copies = find_copies([image_set(grey, [0, 0, 0], "c"), empty])
    assert isinstance(copies, Copies)
    assert copies.counts["class"] == (1, 0)


def test_characters_drawn_by_hand_are_no_duplicates(real_set):
    folder = real_set("omniglot") / "omniglot" / "images_background" / "Tifinagh"
    images = decode_classes({c.name: image_files(c) for c in class_folders(folder)}, 28, True, folder)
    assert len(images) == 1100
    assert find_copies([images]).counts == {"splits": (0, 0), "classes": (0, 0), "class": (0, 0)}
