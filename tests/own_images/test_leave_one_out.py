"""Answers to support images that were left out, one of each class at a time, against adapting anew."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_classifiers import HEADS
from torch import Tensor

from mtl.models.heads import BaseLearner
from mtl.own_images import leave_one_out as held_out
from mtl.own_images.leave_one_out import leave_out
from mtl.runtime.seeds import generator

D = 7
HEAD = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())


def task(counts: list[int], head) -> tuple[BaseLearner, Tensor, Tensor]:
    """Base learner, embedded features of so many images a class, in any order, and their labels."""
    random = generator(0, "held out", *counts)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=random)]
    base_learner = BaseLearner(head, D, len(counts)).double().requires_grad_(False)
    features = torch.randn(len(labels), D, generator=random, dtype=torch.float64) + labels[:, None]
    return base_learner, base_learner.transform_features(features), labels


def left_out_one_by_one(base_learner, features, labels, rows, way):
    of_class = [[i for i, label in enumerate(labels.tolist()) if label == c] for c in range(way)]
    answers = []
    for row in rows:
        place = of_class[labels[row]].index(row)
        out = {rows_of[place] for rows_of in of_class if 1 < len(rows_of) > place}
        kept = [i for i in range(len(labels)) if i not in out]
        head = base_learner.classifier(features[None, kept], labels[None, kept], way)
        answers.append(head(base_learner.transform_queries(features[None, row : row + 1]))[0, 0])
    return torch.stack(answers)


@HEAD
@pytest.mark.parametrize("counts", [[3, 3, 3], [5, 1, 2, 1]], ids=str)
def test_each_image_is_answered_without_it_and_one_of_each_other_class(head, counts):
    base_learner, features, labels = task(counts, head)
    found = leave_out(base_learner, features, labels, len(counts))
    rows = [i for i, label in enumerate(labels.tolist()) if counts[label] > 1]
    assert found.rows.tolist() == rows
    assert len(found) == len(rows)
    wanted = left_out_one_by_one(base_learner, features, labels, rows, len(counts))
    torch.testing.assert_close(found.logits, wanted, rtol=1e-9, atol=1e-9)
    everything = base_learner.adapt(features[None], labels[None], features[None, rows], len(counts))[0]
    assert not torch.allclose(found.logits, everything, atol=1e-2)  # the image itself does not answer


def test_where_each_class_has_one_image_nothing_can_be_asked():
    base_learner, features, labels = task([1, 1, 1], HEADS["ridge"])
    found = leave_out(base_learner, features, labels, 3)
    assert (found.rows.shape, found.rows.dtype, found.logits.shape) == ((0,), torch.int64, (0, 3))


class Noting(BaseLearner):
    """Answers with the numbers of the rows it is given, and notes who answered whom."""

    def __init__(self) -> None:
        super().__init__(HEADS["ridge"], 1, 2)
        self.kept: dict[int, frozenset[int]] = {}

    def adapt(self, support, labels, query, way):
        for kept, asked in zip(support[..., 0].int().tolist(), query[..., 0].int().tolist(), strict=True):
            rest = frozenset(kept)
            for row in asked:
                assert row not in self.kept, "asked twice"
                self.kept[row] = rest
        return query.expand(*query.shape[:-1], way)


def noted(counts: list[int]) -> tuple[Noting, Tensor, held_out.HeldOut]:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator(1, *counts))]
    noting, rows = Noting(), torch.arange(len(labels), dtype=torch.float32)[:, None]
    return noting, labels, leave_out(noting, rows, labels, len(counts))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=2, max_size=12))
def test_every_class_keeps_its_share_and_every_image_is_asked_once(counts):
    noting, labels, found = noted(counts)
    wanted = [i for i, label in enumerate(labels.tolist()) if counts[label] > 1]
    assert found.rows.tolist() == wanted
    assert sorted(noting.kept) == wanted
    assert found.logits[:, 0].tolist() == wanted  # answers stand beside their rows
    parts = len(set(noting.kept.values()))
    assert parts == (min(max(counts), max(10, min(100, 30_000 // sum(counts)))) if wanted else 0)
    for row, kept in noting.kept.items():
        assert row not in kept
        missing = [labels[i].item() for i in set(range(len(labels))) - kept]
        for label in set(missing):
            share = counts[label] / parts
            assert math.floor(share) <= missing.count(label) <= math.ceil(share) < counts[label]


@pytest.mark.parametrize(
    ("counts", "parts"), [([50, 50], 50), ([150, 2], 100), ([300, 300], 50), ([4000, 2], 10)], ids=str
)
def test_large_support_sets_are_left_out_in_fewer_parts(counts, parts):
    noting, _, found = noted(counts)
    assert len(found) == sum(counts)
    assert len(set(noting.kept.values())) == parts


@HEAD
def test_parts_are_answered_by_the_rest(head):
    counts = [70, 2, 31, 1]
    base_learner, features, labels = task(counts, head)
    found = leave_out(base_learner, features, labels, 4)
    place = {row: i for i, row in enumerate(found.rows.tolist())}
    noting = Noting()
    leave_out(noting, torch.arange(104.0)[:, None], labels, 4)
    for row in list(noting.kept)[::17]:
        kept = sorted(noting.kept[row])
        wanted = base_learner.adapt(features[None, kept], labels[None, kept], features[None, [row]], 4)
        torch.testing.assert_close(found.logits[place[row]], wanted[0, 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("counts", [[3, 4, 2], [80, 40]], ids=str)
def test_how_many_are_gathered_at_once_makes_no_difference(counts, monkeypatch):
    base_learner, features, labels = task(counts, HEADS["ridge"])
    at_once = leave_out(base_learner, features, labels, len(counts))
    monkeypatch.setattr(held_out, "_FLOATS", 1)
    one_by_one = leave_out(base_learner, features, labels, len(counts))
    assert torch.equal(at_once.rows, one_by_one.rows)
    torch.testing.assert_close(at_once.logits, one_by_one.logits, rtol=1e-9, atol=1e-9)
