"""Answers to support images that were left out, one of each class at a time, against adapting anew."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_classifiers import HEADS
from torch import Tensor

from mtl.models.classifiers import negative_log_likelihoods
from mtl.models.heads import BaseLearner
from mtl.own_images import leave_one_out as held_out
from mtl.own_images.leave_one_out import (
    HeldOut,
    fit_temperature,
    held_out_temperature,
    leave_out,
    temperature_at,
)
from mtl.own_images.support import Support
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


KNOWN = [(1, 2.0), (4, 1.0), (16, 0.25)]


def support(counts: list[int]) -> Support:
    names = [f"{c:03d}" for c, count in enumerate(counts) for _ in range(count)]
    return Support.of(torch.zeros(len(names), 2), names, names)


def answers(counts: list[int], temperature: float, seed: int = 0) -> tuple[HeldOut, Support]:
    """Held-out answers that are as sure as they should be at this temperature: labels are drawn from them."""
    random, held = generator(seed, "answers", *counts), support(counts)
    logits = 3 * torch.randn(len(held), len(counts), generator=random)
    likely = torch.softmax(logits.double() / temperature, -1)
    draws = torch.multinomial(likely, 1, generator=random)[:, 0]
    place = (torch.arange(len(counts)) + (draws - held.labels)[:, None]) % len(counts)  # drawn: the label
    rows = (held.counts()[held.labels] > 1).nonzero().flatten()
    return HeldOut(rows, logits.gather(1, place)[rows]), held


def searched(held_out, held, known, spread):
    """ln T by brute force, over the counts of each image in plain Python."""
    counts = held.counts().tolist()
    of_each = [counts[label] for label in held.labels[held_out.rows].tolist()]
    equal = sum(1 / n for n in of_each) ** 2 / sum(1 / n**2 for n in of_each)

    def harmonic(numbers):
        return len(numbers) / sum(1 / n for n in numbers)

    shots = [harmonic(counts), harmonic([max(1, n - 1) for n in counts])]
    logs = [
        float(np.interp(math.log(s), [math.log(k) for k, _ in known], [math.log(t) for _, t in known]))
        if known
        else 0.0
        for s in shots
    ]
    best = (math.inf, 0.0)
    for log in np.linspace(logs[1] - 4, logs[1] + 4, 4001):
        scaled = held_out.logits.double().numpy() / math.exp(log)
        nll = 0.0
        for row, label, n in zip(scaled, held.labels[held_out.rows].tolist(), of_each, strict=True):
            nll += (np.logaddexp.reduce(row) - row[label]) / n
        cost = equal * nll / sum(1 / n for n in of_each) + (log - logs[1]) ** 2 / (2 * spread**2)
        best = min(best, (cost, log))
    return best[1] + logs[0] - logs[1]


@pytest.mark.parametrize("counts", [[4, 4, 4], [9, 2, 1, 3]], ids=str)
@pytest.mark.parametrize(("known", "spread"), [((), 0.5), (KNOWN, 0.3)], ids=["unknown", "known"])
def test_it_is_the_most_probable_temperature_with_what_is_known(counts, known, spread):
    held_out, held = answers(counts, 0.4)
    found = fit_temperature(held_out, held, known)
    assert math.log(found) == pytest.approx(searched(held_out, held, known, spread), abs=3e-3)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_of_many_answers_the_temperature_is_found_whatever_was_known(temperature):
    held_out, held = answers([500] * 4, temperature)
    for known in ((), [(1, 1.3), (1000, 1.3)]):
        assert fit_temperature(held_out, held, known) == pytest.approx(temperature, rel=0.1)


def test_answers_with_probability_p_are_right_in_a_share_p():
    held_out, held = answers([2000] * 3, 2.5)
    temperature = fit_temperature(held_out, held, ())
    labels = held.labels[held_out.rows]
    for scale, most in ((temperature, 0.04), (1.0, None)):
        sure, answer = torch.softmax(held_out.logits.double() / scale, -1).max(-1)
        gaps = [
            float(sure[part].mean() - (answer == labels)[part].double().mean())
            for low in (0.4, 0.6, 0.8)
            if (part := (sure > low) & (sure <= low + 0.2)).any()
        ]
        assert max(map(abs, gaps)) < most if most else max(gaps) > 0.1


def test_without_answers_it_is_what_is_known_of_as_many_images():
    held = support([1, 1, 1])
    nothing = HeldOut(torch.empty(0, dtype=torch.int64), torch.empty(0, 3))
    assert fit_temperature(nothing, held, ()) == 1.0
    assert fit_temperature(nothing, held, KNOWN) == pytest.approx(2.0)


def test_classes_count_alike_however_many_images_they_have():
    rows = torch.arange(22)
    held = support([20, 2])
    logits = torch.zeros(22, 2)
    logits[:20, 0] = 1.0  # the large class is always right, the small one always wrong
    logits[20:, 0] = 1.0
    alike = fit_temperature(HeldOut(rows, logits), held, ())
    sure = fit_temperature(HeldOut(rows[:20], logits[:20]), held, ())
    assert sure < 0.9
    assert alike > 1.05  # where 20 of 22 images are right one would be surer, were it for images


@pytest.mark.parametrize(
    ("shot", "wanted"),
    [(1, 2.0), (2, math.sqrt(2.0)), (4, 1.0), (8, 0.5), (16, 0.25), (0.5, 2.0), (99, 0.25)],
)
def test_between_shots_the_logarithm_is_a_line(shot, wanted):
    for known in (KNOWN, KNOWN[::-1]):
        assert temperature_at(shot, known) == pytest.approx(wanted)
    assert temperature_at(shot, ()) == 1.0


def test_answers_that_lack_an_image_have_the_temperature_of_fewer():
    assert held_out_temperature(0.3, support([4, 4]), [(3, 2.0), (4, 1.0)]) == pytest.approx(0.6)
    assert held_out_temperature(0.3, support([1, 1]), KNOWN) == pytest.approx(0.3)
    assert held_out_temperature(0.3, support([5, 2]), ()) == 0.3
    # 2 and 1 images are as 4/3 in each, and 1 of each as 1
    at = temperature_at(4 / 3, KNOWN)
    assert held_out_temperature(at, support([2, 1]), KNOWN) == pytest.approx(2.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.integers(2, 6))
def test_the_log_loss_is_that_of_torch(seed, temperature, way):
    random = generator(seed, "logits")
    logits = 20 * torch.randn(5, way, generator=random)
    labels = torch.randint(way, (5,), generator=random)
    wanted = torch.nn.functional.cross_entropy(logits.double() / temperature, labels, reduction="none")
    torch.testing.assert_close(negative_log_likelihoods(logits, labels, temperature), wanted)
