"""Temperatures of support sets, against brute force, and what they make of answers that are too sure."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.own_images.leave_one_out import HeldOut
from mtl.own_images.support import Support
from mtl.own_images.temperature import (
    fit_temperature,
    held_out_temperature,
    negative_log_likelihoods,
    temperature_at,
)
from mtl.runtime.seeds import generator

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


def test_few_answers_move_what_is_known_less_than_many():
    sizes = ([2, 2], [10, 10], [200, 200])
    moved = [abs(math.log(fit_temperature(*answers(c, 0.3), [(1, 1.0), (500, 1.0)]))) for c in sizes]
    assert moved == sorted(moved)
    assert moved[0] < 0.2
    assert moved[2] > 0.7


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
