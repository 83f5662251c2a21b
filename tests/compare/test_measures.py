"""Measures under weights against repeated tasks, and the judge's hard tasks against plain loops."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtl.compare.measures import (
    ACCURACY,
    FIFTH,
    HARD,
    MEASURES,
    WORST_CLASS,
    WORST_TENTH,
    judged_episodes,
    measure,
    pair_confusions,
    resamples,
)
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.episodes.pairs import pair_count, pair_index
from mtl.evaluation.task_answers import Answers
from mtl.runtime.seeds import generator

CLASSES, IMAGES, SCALE = 8, 12, 10.0


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.float64)


def mid_quantile_of(sample: np.ndarray, share: float) -> float:
    """By its definition, with numpy's interpolation, which also ends flat."""
    values, counts = np.unique(sample, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(sample)
    return float(np.interp(share, middle, values))


def _recalls(answers: Answers, right: np.ndarray, rows: list[int]) -> dict[int, float]:
    asked: dict[int, int] = {}
    got: dict[int, int] = {}
    for t in rows:
        for c, r in zip(answers.classes[t].tolist(), right[t].tolist(), strict=True):
            asked[c] = asked.get(c, 0) + answers.queries
            got[c] = got.get(c, 0) + r
    return {c: got[c] / asked[c] for c in asked}


def _worst(one: dict[int, float], other: dict[int, float], count: int) -> float:
    """Picked in one half, measured in the other, and the other way round."""
    means = []
    for picked, measured in ((one, other), (other, one)):
        lowest = sorted(picked, key=lambda c: (picked[c], c))[:count]
        known = [measured[c] for c in lowest if c in measured]
        means += [sum(known) / len(known)] if known else []
    return sum(means) / len(means) if means else math.nan


def by_repeating(answers: Answers, times: list[int], judged: list[int]) -> dict[str, float]:
    """Every measure of the tasks repeated so many times."""
    rows = [t for t, n in enumerate(times) for _ in range(n)]
    right = np.rint(answers.recall.numpy().astype(float) * answers.queries).astype(int)
    sums = np.array([right[t].sum() for t in rows])
    halves = [_recalls(answers, right, [t for t in rows if t % 2 == half]) for half in (0, 1)]
    tenth = -(-len(halves[0].keys() | halves[1].keys()) // 10)
    hard = np.repeat(answers.judged.numpy().astype(float), judged)
    each = right.shape[1] * answers.queries
    return {
        ACCURACY: sums.mean() / each,
        FIFTH: mid_quantile_of(sums, 0.05) / each,
        WORST_CLASS: _worst(*halves, 1),
        WORST_TENTH: _worst(*halves, tenth),
        HARD: hard.mean() if len(hard) else math.nan,
    }


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_weighting_is_the_tasks_repeated(data):
    tasks, way = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4))
    queries, judged = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 4))
    classes = data.draw(st.integers(way, 35))
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 2**40)))
    answers = Answers(
        torch.rand(tasks, classes, generator=random).argsort(1)[:, :way],
        torch.randint(queries + 1, (tasks, way), generator=random) / queries,
        torch.rand(judged, generator=random),
        queries,
    )
    weights = torch.cat([ones(1, tasks), resamples(5, tasks, random)])
    hard = torch.cat([ones(1, judged), resamples(5, judged, random)])
    found = measure(answers, weights, hard)
    assert tuple(found) == MEASURES
    for b in range(6):
        expected = by_repeating(answers, weights[b].int().tolist(), hard[b].int().tolist())
        for name in MEASURES:
            assert float(found[name][b]) == pytest.approx(expected[name], abs=1e-9, nan_ok=True), name


def test_measures_computed_by_hand():
    # recalls: class 0: (1 + 3)/8, class 1: (4 + 2)/8, class 2: (0 + 4)/8; accuracies 5/8, 3/8, 6/8
    answers = Answers(
        torch.tensor([[0, 1], [0, 2], [1, 2]]),
        torch.tensor([[0.25, 1.0], [0.75, 0.0], [0.5, 1.0]]),
        torch.tensor([0.25, 0.75]),
        4,
    )
    found = measure(answers, torch.tensor([[1.0, 1, 1], [0, 2, 0]]).double(), ones(2, 2))
    assert found[ACCURACY].tolist() == pytest.approx([14 / 24, 3 / 8])
    assert found[FIFTH].tolist() == pytest.approx([3 / 8, 3 / 8])
    # tasks 0 and 2 have class 0 as the worst, 0.75 in task 1; this has class 2, which is 1.0 in the others
    for name in (WORST_CLASS, WORST_TENTH):
        assert found[name].tolist() == pytest.approx([(0.75 + 1.0) / 2, math.nan], nan_ok=True)
    assert found[HARD].tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("classes", "taken"), [(1, 1), (9, 1), (10, 1), (11, 2), (30, 3), (31, 4), (500, 50)]
)
def test_a_tenth_of_the_classes_is_rounded_up(classes, taken):
    order = torch.randperm(classes, generator=generator(classes))
    answers = Answers(torch.cat([order, order])[:, None], ones(2 * classes, 1).float(), ones(0).float(), 1000)
    share = (torch.arange(classes).float() / 1000)[order]
    answers = Answers(answers.classes, torch.cat([share, share])[:, None], answers.judged, 1000)
    twice = answers if classes % 2 else _shifted(answers)  # a class in both halves
    found = measure(twice, ones(1, len(twice.classes)), ones(1, 0))[WORST_TENTH]
    assert float(found) == pytest.approx((taken - 1) / 2000)


def _shifted(answers: Answers) -> Answers:
    """The second half of the tasks in the order that gives each class an even and an odd place."""
    half = len(answers.classes) // 2
    rows = torch.cat([torch.arange(half), half + torch.arange(half).roll(1)])
    return Answers(answers.classes[rows], answers.recall[rows], answers.judged, answers.queries)


def test_the_worst_are_measured_on_other_tasks_than_they_were_picked_on():
    """Recalls that are luck alone: the worst of many looks no worse than the mean."""
    random = generator(0, "luck")
    classes = torch.arange(100).repeat(40)[:, None]
    recall = torch.rand(4000, 1, generator=random).round()
    places = torch.randperm(4000, generator=random)
    found = measure(Answers(classes[places], recall[places], ones(0).float(), 1), ones(1, 4000), ones(1, 0))
    assert float(found[WORST_CLASS]) == pytest.approx(0.5, abs=0.3)
    assert float(found[WORST_TENTH]) == pytest.approx(0.5, abs=0.08)  # 0.37 on the tasks they were picked on


def test_without_tasks_drawn_hard_their_measure_is_nan(answered):
    found = measure(answered(judged=0), ones(2, 40), ones(2, 0))
    assert found[HARD].isnan().all()
    assert not torch.cat([found[name] for name in MEASURES[:-1]]).isnan().any()


def test_resamples_draw_every_task_equally_often():
    drawn = resamples(400, 25, generator(1))
    assert drawn.dtype == torch.float64
    assert drawn.sum(1).eq(25).all()
    assert chisquare(drawn.sum(0).numpy()).pvalue > 1e-4
    # multinomial: variance of a count 24/25, correlation of two of them -1/24
    assert float(drawn.var()) == pytest.approx(24 / 25, abs=0.05)
    assert torch.equal(drawn, resamples(400, 25, generator(1)))
    assert resamples(3, 0, generator(1)).shape == (3, 0)


def _features(classes=CLASSES, images=IMAGES, features=6, seed=0, spread=1.0):
    """Images of class c at rows c, C + c, 2 C + c, ...; a class with few images where `images` is a list."""
    random = generator(seed, "judged features", classes, features)
    counts = [images] * classes if isinstance(images, int) else images
    labels = torch.cat(
        [torch.tensor([c for c in range(classes) if i < counts[c]]) for i in range(max(counts))]
    )
    centres = torch.randn(classes, features, generator=random)
    return centres[labels] + spread * torch.randn(len(labels), features, generator=random), labels


def _by_hand(features, labels, classes):
    """The formula, an image, a class and a pair at a time."""
    vectors = [[float(v) for v in row] for row in features.double()]

    def unit(vector):
        length = math.sqrt(sum(v * v for v in vector))
        return [v / length for v in vector]

    vectors = [unit(v) for v in vectors]
    members = [
        [v for v, label in zip(vectors, labels.tolist(), strict=True) if label == c] for c in range(classes)
    ]
    centres = [unit([sum(column) / len(own) for column in zip(*own, strict=True)]) for own in members]

    def cosine(one, other):
        return sum(a * b for a, b in zip(one, other, strict=True))

    def taken_for(i, j):
        """The mean probability of class j, of images of class i."""
        gaps = [SCALE * (cosine(x, centres[j]) - cosine(x, centres[i])) for x in members[i]]
        return sum(1 / (1 + math.exp(-gap)) for gap in gaps) / len(gaps)

    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    return torch.tensor([(taken_for(i, j) + taken_for(j, i)) / 2 for i, j in pairs], dtype=torch.float64)


@pytest.mark.parametrize("images", [1, 5, [3, 1, 7, 2, 4, 4, 9, 1]], ids=str)
def test_confusions_are_those_of_the_loops(images):
    features, labels = _features(images=images)
    found = pair_confusions(features, labels, CLASSES)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, _by_hand(features, labels, CLASSES), rtol=1e-12, atol=1e-12)


def test_more_images_than_pass_at_once_change_nothing():
    features, labels = _features(classes=3, images=1500, features=4)
    torch.testing.assert_close(
        pair_confusions(features, labels, 3), _by_hand(features, labels, 3), rtol=1e-10, atol=1e-12
    )


@pytest.fixture
def judged():
    """Features of 20 classes, among them three close families, and what the judge draws by them."""
    features, labels = _features(classes=20, features=12, seed=4, spread=0.6)
    for family in ((0, 1, 2), (5, 9, 17), (11, 12, 13)):
        for c in family[1:]:
            features[labels == c] += features[labels == family[0]].mean(0) - features[labels == c].mean(0)
            features[labels == c] += 0.1 * torch.randn(12, generator=generator(c))
    index = ClassIndex.of(labels)
    confusions = pair_confusions(features, labels, 20)
    return features, labels, index, judged_episodes(index, confusions, 4, 2, 5, 400, generator(0, "judge"))


def _accuracy(features, batch):
    """(T,) of the nearest prototype by cosine, one task after the other."""
    unit = F.normalize(features, dim=-1)
    found = []
    for support, query in zip(batch.support, batch.query, strict=True):
        centres = F.normalize(unit[support].mean(1), dim=-1)
        answers = (unit[query] @ centres.T).argmax(-1)
        found.append((answers == torch.arange(batch.way)[:, None]).float().mean())
    return torch.stack(found)


def test_judged_tasks_are_harder_than_uniform_ones_by_the_same_features(judged):
    features, _, index, batch = judged
    uniform = CategoriesSampler.of(index, EpisodeShape(4, 2, 5), 0).draw(400)
    hard, plain = _accuracy(features, batch), _accuracy(features, uniform)
    error = (hard.var() / 400 + plain.var() / 400).sqrt()
    assert plain.mean() - hard.mean() > 6 * error


def test_pairs_come_in_judged_tasks_the_more_often_the_more_they_are_confused(judged):
    features, labels, _, batch = judged
    confusions = pair_confusions(features, labels, 20)
    seen = torch.zeros(pair_count(20))
    for task in batch.classes:
        for a in range(4):
            for b in range(a):
                seen[pair_index(task[a], task[b], 20)] += 1
    order = confusions.argsort()
    assert seen[order[-9:]].mean() > 3 * seen[order[:95]].mean()


def test_judged_tasks_have_different_classes_and_images_of_their_own(judged):
    _, labels, _, batch = judged
    assert (batch.support.shape, batch.query.shape) == ((400, 4, 2), (400, 4, 5))
    assert batch.origin == ("judged",) * 400
    assert batch.index == tuple(range(400))
    assert all(len(set(task)) == 4 for task in batch.classes.tolist())
    assert (labels[batch.support] == batch.classes[..., None]).all()
    assert (labels[batch.query] == batch.classes[..., None]).all()
    assert all(len(set(images)) == 28 for images in batch.image_indices().tolist())


def test_judged_tasks_follow_the_generator_alone(judged):
    features, labels, index, batch = judged
    confusions = pair_confusions(features, labels, 20)
    again = judged_episodes(index, confusions, 4, 2, 5, 400, generator(0, "judge"))
    other = judged_episodes(index, confusions, 4, 2, 5, 400, generator(1, "judge"))
    assert torch.equal(again.image_indices(), batch.image_indices())
    assert not torch.equal(other.classes, batch.classes)
