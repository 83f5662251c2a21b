"""What an outcome says of single answers, against plain loops."""

import math

import pytest
import torch

from mtl.episodes.episode import Outcome

T, N, Q = 4, 3, 5


def _logits(seed=0, dtype=torch.float32):
    return (3 * torch.randn(T, N * Q, N, generator=torch.Generator().manual_seed(seed))).to(dtype)


def test_single_answers_are_what_a_plain_loop_takes():
    logits = _logits()
    outcome = Outcome.of(logits, N, Q)
    assert outcome.predicted.shape == outcome.confidence.shape == (T, N, Q)
    for t in range(T):
        for n in range(N):
            for q in range(Q):
                row = logits[t, n * Q + q].tolist()
                best = max(range(N), key=row.__getitem__)
                assert outcome.predicted[t, n, q] == best
                sure = math.exp(row[best]) / sum(math.exp(value) for value in row)
                assert float(outcome.confidence[t, n, q]) == pytest.approx(sure, abs=1e-6)


def test_answers_agree_with_recall():
    outcome = Outcome.of(_logits(), N, Q)
    right = (outcome.predicted == torch.arange(N)[None, :, None]).float().mean(2)
    torch.testing.assert_close(right, outcome.recall)
    assert 0 < float(right.mean()) < 1


def test_one_query_of_each_class_by_hand():
    sure = [[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [0.25, 0.125, 0.625]]
    outcome = Outcome.of(torch.tensor([sure]).log(), 3, 1)
    assert outcome.predicted.tolist() == [[[0], [2], [2]]]
    torch.testing.assert_close(outcome.confidence, torch.tensor([[[0.5], [0.75], [0.625]]]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_answers_are_small_integers_and_plain_probabilities(dtype):
    outcome = Outcome.of(_logits(dtype=dtype).requires_grad_(), N, Q)
    assert outcome.predicted.dtype == torch.int16
    assert outcome.confidence.dtype == torch.float32
    assert not outcome.confidence.requires_grad
    assert outcome.predicted.device.type == outcome.confidence.device.type == "cpu"
    assert bool((outcome.confidence <= 1).all())
    assert bool((outcome.confidence >= 1 / N - 1e-6).all())  # of N classes the likeliest has 1/N at least


def test_answers_of_many_ways_are_exact():
    way = 1000  # more than a byte; every float32 below 2^24 is exact
    outcome = Outcome.of(torch.eye(way)[None].roll(-1, 2), way, 1)
    assert outcome.predicted.flatten().tolist() == [way - 1, *range(way - 1)]


def test_answers_put_together_are_those_of_all():
    logits = _logits()
    whole = Outcome.of(logits, N, Q)
    parts = Outcome.concatenate([Outcome.of(logits[:1], N, Q), Outcome.of(logits[1:], N, Q)])
    assert torch.equal(parts.predicted, whole.predicted)
    assert torch.equal(parts.confidence, whole.confidence)


def _without_answers(outcome):
    return Outcome(outcome.loss, outcome.accuracy, outcome.recall, outcome.confusion)


@pytest.mark.parametrize("known", [(), (0,), (1,)])
def test_answers_that_one_part_does_not_know_the_whole_does_not_know(known):
    whole = Outcome.of(_logits(), N, Q)
    parts = [whole if k in known else _without_answers(whole) for k in range(2)]
    together = Outcome.concatenate(parts)
    assert together.predicted is None
    assert together.confidence is None
    assert torch.equal(together.recall, torch.cat([whole.recall, whole.recall]))
