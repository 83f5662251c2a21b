"""The film of a curriculum: its frames, read back, show each image as strongly as the record says."""

import dataclasses
import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from mtl.report import curriculum_film
from mtl.report import curriculum_stats as admission
from mtl.report.curriculum_film import evenly, film, strengths
from mtl.training.curriculum import UNMET, Curriculum

SIDE, STEP, LEFT, TOP = 48, 58, 216, 78  # pixels of the grid on a frame


def make(weights, wrong=(), names=("one", "two")):
    """A record of images of the classes in turn; all images are dark grey."""
    weights = torch.as_tensor(weights, dtype=torch.int8)
    images = weights.shape[1]
    labels = torch.arange(images) % len(names)
    mislabelled = torch.zeros(images, dtype=torch.bool)
    mislabelled[list(wrong)] = True
    pictures = torch.full((images, 1, 8, 8), 51, dtype=torch.uint8)
    return Curriculum(torch.arange(images), labels, mislabelled, weights, tuple(names)), pictures


def frames_of(gif: bytes):
    """(E, height, width, 3), the duration of each frame, and how often the film is played."""
    with Image.open(io.BytesIO(gif)) as image:
        shown, times, loop = [], [], image.info["loop"]
        for i in range(image.n_frames):
            image.seek(i)
            shown.append(np.asarray(image.convert("RGB")).astype(int))
            times.append(image.info["duration"])
    return np.stack(shown), times, loop


def cell(frame, row, column):
    """The pixels of one image on a frame."""
    y, x = TOP + row * STEP, LEFT + column * STEP
    return frame[y : y + SIDE, x : x + SIDE]


def test_images_are_as_strong_on_each_frame_as_they_weigh():
    weights = [[100, 0, 0, 50, UNMET, 1], [0, 0, 100, 100, 0, 100], [UNMET, 0, 100, 100, 100, UNMET]]
    curriculum, pictures = make(weights)
    shown, _, _ = frames_of(film(curriculum, pictures, 0))
    assert len(shown) == 3
    full, gone = 51, 255 - 0.18 * 204
    barely = 255 - 0.55 * 204
    half = (full + barely) / 2
    expected = {
        0: [full, gone, gone],
        1: [gone, gone, gone],
        2: [gone, full, full],
        3: [half, full, full],
        4: [gone, gone, full],
        5: [barely, full, full],
    }
    for row, own in enumerate(admission.grid(curriculum, 12, 8, 0).values()):
        for column, place in enumerate(own.tolist()):
            found = [cell(frame, row, column) for frame in shown]
            assert all(np.ptp(one) == 0 for one in found)
            assert [one[0, 0, 0] for one in found] == pytest.approx(expected[place], abs=4)
    assert all((frame[:3] == 255).all() for frame in shown)  # light paper


def test_the_pictures_of_the_record_are_shown_and_wrong_labels_in_a_frame():
    curriculum, _ = make([[100] * 4] * 2, wrong=[1])
    colours = torch.tensor([[30, 200, 90], [70, 20, 90], [230, 200, 0], [150, 100, 250]], dtype=torch.uint8)
    pictures = colours[:, :, None, None].expand(4, 3, 8, 8)
    curriculum = dataclasses.replace(curriculum, images=torch.tensor([3, 2, 0, 1]))
    frame = frames_of(film(curriculum, pictures, 0))[0][1]
    for row, own in enumerate(admission.grid(curriculum, 12, 8, 0).values()):
        for column, place in enumerate(own.tolist()):
            expected = colours[curriculum.images[place]].numpy().astype(int)
            assert np.abs(cell(frame, row, column) - expected).max() < 8
            y, x = TOP + row * STEP - 2, LEFT + column * STEP + SIDE // 2
            marked = np.abs(frame[y, x] - [0xD5, 0x5E, 0x00]).max() < 25
            assert marked == (place == 1)
            assert marked or (frame[y, x] == 255).all()


def test_a_film_loops_at_three_frames_a_second_and_rests_on_the_last():
    curriculum, pictures = make([[100, 0, 0, 0], [100, 100, 0, 0], [100] * 4, [100] * 4])
    shown, times, loop = frames_of(film(curriculum, pictures, 0))
    assert loop == 0  # for ever
    assert times == [330, 330, 330, 2000]
    assert all((a != b).any() for a, b in pairwise(shown))  # the epoch is told


def test_the_bar_is_as_long_as_the_share():
    weights = [[100, 0, 0, 0], [100, 100, UNMET, UNMET], [50, 100, 0, 100], [0, 0, 0, 100]]
    shown, _, _ = frames_of(film(*make(weights), 0))
    row = shown[:, 48, 14:-14]
    blue = (row[..., 2] - row[..., 0] > 60).mean(1)
    assert blue == pytest.approx([0.25, 1.0, 0.75, 0.25], abs=0.01)


def test_a_long_pretraining_and_a_large_film_have_fewer_frames(monkeypatch):
    monkeypatch.setattr(curriculum_film, "_FRAMES", 12)
    random = torch.Generator().manual_seed(0)
    weights = torch.where(torch.rand(30, 16, generator=random) < 0.5, 0, 100)
    curriculum, _ = make(weights, names=("one",))
    noise = torch.randint(0, 256, (16, 3, 48, 48), generator=random, dtype=torch.uint8)
    large = film(curriculum, noise, 0, 10**9)
    whole = frames_of(large)[0]
    assert len(whole) == 12
    limit = len(large) // 3
    small = film(curriculum, noise, 0, limit)
    assert len(small) <= limit
    thinned = frames_of(small)[0]
    assert len(thinned) == 3  # 6 were still too many
    for end in (0, -1):  # both begin with the first epoch and end with the last, as their heads tell
        assert np.abs(whole[:, :40] - thinned[end, :40]).mean((1, 2, 3)).argmin() == end % 12
    assert len(frames_of(film(*make([[0, 100]] * 5), 0, 1))[0]) == 2  # as small as it gets


def test_a_film_follows_from_the_seed_alone():
    names = tuple(f"class {i:02d}" for i in range(30))
    made = make([[100, 0] * 45] * 2, names=names)
    assert film(*made, 0) == film(*made, 0)
    assert film(*made, 0) != film(*made, 1)


@pytest.mark.parametrize("names", [("$a_1$ {", "漢\n字"), ("W" * 90, "x")])
def test_names_of_any_writing_stay_at_the_side(names):
    frame = frames_of(film(*make([[100] * 4], names=names), 0))[0][0]
    assert (frame[TOP : TOP + 2 * STEP, :14] == 255).all()
    assert (frame[TOP : TOP + 2 * STEP, LEFT - 10 : LEFT] == 255).all()
    assert (frame[TOP : TOP + SIDE, 14 : LEFT - 10] < 128).any()


@given(st.integers(1, 300), st.integers(2, 80))
def test_frames_are_even_and_hold_both_ends(count, most):
    found = evenly(count, most)
    assert len(found) == min(count, most)
    assert (found[0], found[-1]) == (0, count - 1)
    gaps = np.diff(found)
    assert len(gaps) == 0 or (gaps.min() >= 1 and np.ptp(gaps) <= 1)


def test_fewer_frames_than_two_are_refused():
    with pytest.raises(ValueError, match="most: 1; it must be at least 2"):
        evenly(5, 1)


@given(hnp.arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(-1, 100)))
def test_an_image_that_was_not_met_stays_as_it_was(weights):
    found = strengths(torch.from_numpy(weights))
    for p, column in enumerate(weights.T.tolist()):
        before = 0
        for e, weight in enumerate(column):
            before = before if weight == UNMET else weight
            expected = 0.55 + 0.45 * round(4 * before / 100) / 4 if before > 0 else 0.18
            assert float(found[e, p]) == pytest.approx(expected, abs=1e-6 if before % 25 != 12 else 0.12)
