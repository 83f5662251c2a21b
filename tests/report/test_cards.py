"""Thumbnails, and the tasks, classes and pairs of a ledger as the page shows them."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.data import ImageSet
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.ledger.store import Ledger
from mtl.ledger.task_history import find_episode
from mtl.report.cards import Gallery, Limits, class_rows, pair_cards, task_cards, thumbnail

NAMES = ("ant", "bee", "cow", "dog")
WAY, QUERIES = 4, 5


@pytest.fixture
def ledger(tmp_path):
    """One four-way task, seen twice: the second time ants are cows and two dogs are bees."""
    images = torch.arange(WAY * (1 + QUERIES)).view(1, WAY, 1 + QUERIES)
    batch = EpisodeBatch(torch.arange(WAY)[None], images[..., :1], images[..., 1:], ("uniform",), (0,))
    right = torch.eye(WAY).repeat_interleave(QUERIES, 0)
    worse = right.clone()
    worse[:QUERIES] = torch.eye(WAY)[2]
    worse[-2:] = torch.eye(WAY)[1]
    with Ledger.open(tmp_path / "ledger") as ledger:
        ledger.register_classes("train", dict(enumerate(NAMES)))
        for logits in (right, worse):
            ledger.append("p", 0, 0, batch, Outcome.of(9 * logits[None], WAY, QUERIES), "train")
        yield ledger


@pytest.fixture
def gallery():
    pixels = torch.zeros(WAY * (1 + QUERIES), 1, 8, 8, dtype=torch.uint8)
    return Gallery(ImageSet(pixels, torch.arange(WAY).repeat_interleave(1 + QUERIES), NAMES))


def test_a_task_shows_its_worst_visit(ledger, gallery):
    (card,) = task_cards(ledger, "p", gallery, Limits(wrong=4))
    assert card.task.classes == NAMES
    assert card.history == pytest.approx([1.0, 13 / 20])
    assert (card.worst_accuracy, card.worst_step) == (pytest.approx(13 / 20), 0)
    assert find_episode(ledger, card.worst_id).accuracy == pytest.approx(13 / 20)
    assert [(s.name, round(s.recall, 3)) for s in card.shown] == [
        ("ant", 0.0),
        ("bee", 1.0),
        ("cow", 1.0),
        ("dog", 0.6),
    ]
    assert [s.pictures[0].alt for s in card.shown] == [f"{n}, image {6 * i}" for i, n in enumerate(NAMES)]
    assert [(w.own, w.predicted) for w in card.wrong] == [("ant", "cow")] * 4 + [("dog", "bee")] * 2
    assert {w.picture.alt for w in card.wrong if w.own == "dog"} == {"dog, image 22", "dog, image 23"}
    assert all(w.confidence > 0.99 for w in card.wrong)
    assert card.more_wrong == 1
    assert card.answers_known


def test_a_large_task_shows_the_classes_that_it_answered_worst(ledger, gallery):
    (card,) = task_cards(ledger, "p", gallery, Limits(shown=2, wrong=1))
    assert [s.name for s in card.shown] == ["ant", "dog"]
    assert [(w.own, w.predicted) for w in card.wrong] == [("ant", "cow"), ("dog", "bee")]
    assert card.more_wrong == 5


def test_without_images_there_are_words_alone(ledger):
    (card,) = task_cards(ledger, "p", Gallery(None), Limits())
    assert [s.pictures for s in card.shown] == [[]] * 4
    assert [w.picture for w in card.wrong] == [None] * 7


def test_classes_and_pairs_come_with_their_images(ledger, gallery):
    rows = class_rows(ledger, "p", gallery, Limits(with_pictures=1))
    assert [(r.row.name, r.row.recall, len(r.pictures)) for r in rows][:2] == [
        ("ant", 0.5, 2),
        ("dog", pytest.approx(0.8), 0),
    ]
    assert rows[0].trend == [0.5]
    first = pair_cards(ledger, "p", gallery, Limits(pair_pictures=3))[0]
    assert (first.pair.classes, first.pair.n) == (("ant", "cow"), 2)
    assert first.pair.first_as_second == pytest.approx(0.5, abs=0.01)
    assert (len(first.first_pictures), len(first.second_pictures)) == (3, 3)


def test_less_is_at_least_something():
    limits = Limits()
    for _ in range(10):
        limits = limits.smaller()
    assert limits == limits.smaller()
    assert min(limits.tasks, limits.wrong, limits.support, limits.pairs, limits.pair_pictures) >= 1


def _opened(made):
    head, _, data = made.source.partition(";base64,")
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_small_grey_image_is_kept_to_the_pixel():
    image = torch.randint(0, 256, (1, 20, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    made = thumbnail(image, "a")
    head, opened = _opened(made)
    assert head == "data:image/png"
    assert (made.width, made.height) == (28, 20)
    assert np.array_equal(np.asarray(opened), image[0].numpy())


def test_a_colour_image_is_near_to_itself():
    ramp = torch.arange(32)[None, :].expand(32, 32) * 8
    image = torch.stack([ramp, ramp.T, 255 - ramp]).to(torch.uint8)
    head, opened = _opened(thumbnail(image, "a"))
    assert head == "data:image/jpeg"
    assert np.abs(np.asarray(opened).astype(int) - image.permute(1, 2, 0).numpy()).mean() < 4


def test_a_large_image_keeps_its_shape_and_its_mean():
    image = torch.full((3, 200, 100), 77, dtype=torch.uint8)
    made = thumbnail(image, "a", side=50)
    _, opened = _opened(made)
    assert (made.width, made.height) == (25, 50) == opened.size
    assert np.abs(np.asarray(opened).astype(int) - 77).max() <= 2


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        thumbnail(torch.zeros(2, 8, 8, dtype=torch.uint8), "a")


@pytest.fixture
def ants():
    images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 1, 16, 16).contiguous()
    labels = torch.tensor([1, 0, 1, 0, 1, 1])
    return Gallery(ImageSet(images, labels, ("<b>", "ant"), files=tuple(f"{i}.png" for i in range(6))))


def test_a_gallery_knows_the_images_of_a_class_and_makes_each_once(ants):
    found = ants.of_class("ant", 3)
    assert [np.asarray(_opened(t)[1])[0, 0] for t in found] == [0, 2, 4]
    assert ants.picture(2) is found[1]
    assert found[1].alt == "ant, image 2: 2.png"
    assert ants.of_class("no such", 3) == []
