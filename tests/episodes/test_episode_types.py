"""What a meta-batch and its outcome mean, against plain loops."""

import math

import pytest
import torch

from mtl.episodes.episode import EpisodeBatch, Outcome


def _batch(tasks=3, way=2, shot=1, queries=2):
    images = torch.arange(tasks * way * (shot + queries)).view(tasks, way, shot + queries)
    classes = torch.arange(tasks * way).view(tasks, way)
    origin = tuple(f"o{t}" for t in range(tasks))
    return EpisodeBatch(classes, images[..., :shot], images[..., shot:], origin, tuple(range(10, 10 + tasks)))


def test_its_sizes_have_names():
    batch = _batch(tasks=3, way=4, shot=2, queries=5)
    assert (len(batch), batch.way, batch.shot, batch.queries) == (3, 4, 2, 5)


def test_images_come_support_first_class_by_class():
    batch = _batch(
        tasks=1, way=2, shot=2, queries=3
    )  # images 0..4 are of the first class, 5..9 of the second
    assert batch.image_indices().tolist() == [[0, 1, 5, 6, 2, 3, 4, 7, 8, 9]]


def test_labels_count_the_classes_of_the_episode():
    batch = _batch(tasks=2, way=3, shot=2, queries=1)
    assert batch.labels(2).tolist() == [[0, 0, 1, 1, 2, 2]] * 2
    assert batch.labels(1).tolist() == [[0, 1, 2]] * 2


def test_labels_belong_to_the_images():
    batch = _batch(tasks=2, way=3, shot=2, queries=4)  # a class has 6 images in a row
    labels = torch.cat([batch.labels(batch.shot), batch.labels(batch.queries)], 1)
    assert torch.equal(batch.classes.gather(1, labels), batch.image_indices() // 6)


def test_slices_put_together_again_are_the_batch(assert_same):
    batch = _batch(tasks=5)
    part = batch[1:3]
    assert len(part) == 2
    assert part.origin == ("o1", "o2")
    assert part.index == (11, 12)
    assert_same(EpisodeBatch.concatenate([batch[:1], part, batch[3:]]), batch)


@pytest.mark.parametrize("wrong", [{"origin": ("a",)}, {"index": (1, 2)}, {"query": torch.zeros(4, 2, 2)}])
def test_parts_that_speak_of_other_episodes_are_refused(wrong):
    batch = _batch(tasks=3)
    parts = {n: getattr(batch, n) for n in ("classes", "support", "query", "origin", "index")}
    with pytest.raises(ValueError, match="the same episodes"):
        EpisodeBatch(**(parts | wrong))


def _by_hand(logits, way, queries):
    """Loss, accuracy, recall and confusion of one task, query after query."""
    losses, recall, confusion = [], [0.0] * way, [[0.0] * way for _ in range(way)]
    for i in range(way):
        for q in range(queries):
            row = logits[i * queries + q].tolist()
            total = sum(math.exp(v) for v in row)
            p = [math.exp(v) / total for v in row]
            losses.append(-math.log(p[i]))
            recall[i] += (max(range(way), key=row.__getitem__) == i) / queries
            for j in range(way):
                confusion[i][j] += p[j] / queries
    return sum(losses) / len(losses), sum(recall) / way, recall, confusion


def test_an_outcome_is_what_a_plain_loop_counts():
    T, N, Q = 4, 3, 5
    logits = 3 * torch.randn(T, N * Q, N, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outcome = Outcome.of(logits, N, Q)
    for t in range(T):
        loss, accuracy, recall, confusion = _by_hand(logits[t], N, Q)
        assert float(outcome.loss[t]) == pytest.approx(loss, abs=1e-5)
        assert float(outcome.accuracy[t]) == pytest.approx(accuracy, abs=1e-6)
        assert outcome.recall[t].tolist() == pytest.approx(recall, abs=1e-6)
        torch.testing.assert_close(outcome.confusion[t], torch.tensor(confusion), atol=1e-6, rtol=0)


def test_an_outcome_is_detached_float32_and_its_confusion_a_distribution():
    logits = torch.randn(2, 6, 3, dtype=torch.bfloat16, requires_grad=True)
    outcome = Outcome.of(logits, 3, 2)
    for value in (outcome.loss, outcome.accuracy, outcome.recall, outcome.confusion):
        assert value.dtype == torch.float32
        assert not value.requires_grad
    torch.testing.assert_close(outcome.confusion.sum(-1), torch.ones(2, 3))


def test_logits_of_any_size_leave_the_loss_finite():
    outcome = Outcome.of(torch.tensor([[[0.0, 3e4], [3e4, 0.0]]]), 2, 1)
    assert outcome.loss.tolist() == [3e4]
    assert outcome.accuracy.tolist() == [0.0]


def test_outcomes_put_together_are_the_outcome_of_all():
    logits = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0))
    whole = Outcome.of(logits, 3, 2)
    parts = Outcome.concatenate([Outcome.of(logits[:2], 3, 2), Outcome.of(logits[2:], 3, 2)])
    for name in ("loss", "accuracy", "recall", "confusion"):
        assert torch.equal(getattr(parts, name), getattr(whole, name))


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
