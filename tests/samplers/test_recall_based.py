"""Hard classes by a posterior of their recall: the laws of both draws, and what they come to."""

import numpy as np
import pytest
import torch
from sampler_options import sampler_of
from scipy.integrate import trapezoid
from scipy.special import softmax
from scipy.stats import beta, binomtest, chisquare

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.runtime.seeds import generator

ALWAYS = {"share": 1.0, "warm_up": 0.0, "fade": 0.0}
RIGHT, WRONG = [2.0, 30.0, 0.0, 9.0, 11.0, 6.0], [7.0, 3.0, 0.0, 11.0, 4.0, 9.0]  # class 2 was never met


def _sampler(index, way=3, **config):
    return sampler_of("posterior", index, EpisodeShape(way, 1, 3), **{**ALWAYS, **config})


def _holding(index, **config):
    """A sampler that has these answers of its six classes."""
    sampler = _sampler(index, **config)
    answers = {"right": RIGHT, "wrong": WRONG}
    sampler.recalls.load_state_dict({k: torch.tensor(v, dtype=torch.float64) for k, v in answers.items()})
    return sampler


def _among_the_lowest(right, wrong, way):
    """Probability of each class that one draw of every Beta posterior puts it among the lowest `way`.

    By quadrature over its own value x; how many of the others lie below x is a sum of independent trials.
    """
    grid = np.linspace(0, 1, 4001)
    laws = [beta(a + 1, b + 1) for a, b in zip(right, wrong, strict=True)]
    result = []
    for own in laws:
        below = np.zeros((way, len(grid)))  # probability that 0, 1, ... of the others lie below x
        below[0] = 1
        for other in laws:
            if other is not own:
                p = other.cdf(grid)
                shifted = np.vstack([np.zeros(len(grid)), below[:-1]])
                below = below * (1 - p) + shifted * p
        result.append(trapezoid(own.pdf(grid) * below.sum(0), grid))
    return result


@pytest.fixture
def six(labels):
    return ClassIndex.of(labels(6, 8))


def test_thompson_draws_the_classes_of_the_lowest_recalls_of_one_posterior_draw(six):
    expected = _among_the_lowest(RIGHT, WRONG, way=3)
    assert sum(expected) == pytest.approx(3, abs=1e-3)
    sampler, random = _holding(six), generator(0)
    tasks = [sampler.choose(n, random).tolist() for n in range(3000)]
    for c, p in enumerate(expected):
        assert binomtest(sum(c in task for task in tasks), 3000, p).pvalue > 1e-4


def test_thompson_gives_a_class_every_place_of_the_task_alike(six):
    sampler, random = _holding(six), generator(1)
    places = [task.index(0) for n in range(1500) if 0 in (task := sampler.choose(n, random).tolist())]
    assert chisquare(np.bincount(places, minlength=3)).pvalue > 1e-4


def test_softmax_draws_by_the_weights_of_scipy_with_the_floor(six):
    sampler, random = _holding(six, draw="softmax", temperature=0.3, floor=0.2), generator(2)
    error = (np.array(WRONG) + 1) / (np.array(RIGHT) + np.array(WRONG) + 2)
    expected = 0.8 * softmax(error / 0.3) + 0.2 / 6
    np.testing.assert_allclose(sampler.class_weights().numpy(), expected, rtol=1e-12)
    first = [int(sampler.choose(n, random)[0]) for n in range(2000)]
    assert chisquare(np.bincount(first, minlength=6), 2000 * expected).pvalue > 1e-4


@pytest.mark.parametrize("draw", ["thompson", "softmax"])
def test_classes_of_low_recall_are_drawn_more_often(index, solved, draw):
    sampler = _sampler(index, draw=draw, share=0.0)
    for _ in range(100):
        batch = sampler.draw(4)
        sampler.update(batch, solved(batch, {3: 0.2, 7: 0.2}, otherwise=0.9))
    random = generator(3)
    tasks = [set(sampler.choose(n, random).tolist()) for n in range(300)]
    often = [sum(c in task for task in tasks) / 300 for c in range(20)]
    assert min(often[3], often[7]) > 0.9  # 3 in 20 if drawn uniformly
    assert max(often[c] for c in range(20) if c not in {3, 7}) < 0.25


@pytest.mark.parametrize("draw", ["thompson", "softmax"])
def test_classes_that_were_never_met_are_still_drawn(index, draw):
    """Class 5 is surely hard, 6 to 19 are surely easy, 0 to 4 were never met."""
    right = torch.tensor([0.0] * 5 + [2.0] + [50.0] * 14, dtype=torch.float64)
    wrong = torch.tensor([0.0] * 5 + [48.0] + [2.0] * 14, dtype=torch.float64)
    sampler = _sampler(index, draw=draw)
    sampler.recalls.load_state_dict({"right": right, "wrong": wrong})
    random = generator(4)
    tasks = [set(sampler.choose(n, random).tolist()) for n in range(200)]
    often = [sum(c in task for task in tasks) / 200 for c in range(20)]
    assert often[5] > 0.9
    assert min(often[:5]) > 0.15
    assert min(often[:5]) > max(often[6:])


def test_a_class_that_is_learned_is_let_go(index, solved):
    sampler = _sampler(index, share=0.0)
    for step in range(200):
        batch = sampler.draw(4)
        sampler.update(batch, solved(batch, {3: 0.0 if step < 60 else 0.9}, otherwise=0.9))
        if step == 59:
            assert int(sampler.class_weights().argmax()) == 3
            assert float(sampler.class_weights()[3]) > 0.5
    assert float(sampler.class_weights()[3]) < 0.1


def test_a_draw_of_low_temperature_without_a_floor_takes_the_hardest_classes(six):
    sampler = _holding(six, draw="softmax", temperature=1e-4, floor=0.0)
    hardest = sorted(range(6), key=lambda c: (RIGHT[c] + 1) / (RIGHT[c] + WRONG[c] + 2))[:3]
    assert set(sampler.choose(0, generator(0)).tolist()) == set(hardest)
