"""Thousands of classes take turns, and a class keeps the weights of its heaviest pairs alone."""

import pytest
import torch
from sampler_options import sampler_of

from mtl.config.hard_tasks import Boosted
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.episodes.pairs import pair_count, symmetric
from mtl.errors import UserError
from mtl.runtime.seeds import generator
from mtl.samplers.boosted import heaviest_partners
from mtl.samplers.boosting import boost
from mtl.samplers.partner_weights import PartnerWeights

CLASSES = 9


def errors(number):
    """(C, C) symmetric, those of round `number`."""
    table = torch.rand(CLASSES, CLASSES, dtype=torch.float64, generator=generator(number, "errors")) / 2
    return (table + table.T) / 2


def dense(rule, rounds):
    """The steps of the rule with a weight for each pair."""
    i, j = torch.triu_indices(CLASSES, CLASSES, 1)
    weights = torch.full((pair_count(CLASSES),), 1 / pair_count(CLASSES), dtype=torch.float64)
    steps = []
    for number in range(rounds):
        steps.append(boost(weights, errors(number)[i, j], torch.ones(len(i), dtype=torch.bool), rule, way=2))
        weights = steps[-1].weights
    return steps


def test_with_all_pairs_kept_it_is_the_rule_over_all_pairs():
    rule, sparse, rows = Boosted(floor=0.1), PartnerWeights(CLASSES, CLASSES), torch.arange(CLASSES)
    for number, step in enumerate(dense(rule, 4)):
        epsilon, alpha = sparse.update(rows, errors(number).__getitem__, rule, CLASSES)
        assert (epsilon, alpha) == pytest.approx((step.epsilon, step.alpha))
        expected = symmetric(step.weights, CLASSES, diagonal=0.0) / 2
        torch.testing.assert_close(sparse.table(rows), expected, rtol=1e-10, atol=0)
        weights, pairs = sparse.heaviest(rows)
        torch.testing.assert_close(weights, 2 * expected[pairs[:, 0], pairs[:, 1]])
        assert len(weights) == pair_count(CLASSES)


def test_pairs_that_share_a_weight_keep_their_mass_and_the_heaviest_are_found():
    rule, sparse, rows = Boosted(forget=0.0), PartnerWeights(CLASSES, 4), torch.arange(CLASSES)
    for number, step in enumerate(dense(rule, 3)):  # nothing is remembered: only α depends on old weights
        sparse.update(rows, errors(number).__getitem__, rule, CLASSES)
        assert torch.equal(sparse.partners, heaviest_partners(step.weights, CLASSES, 4))
        table, expected = sparse.table(rows), symmetric(step.weights, CLASSES, diagonal=0.0) / 2
        close = {"rtol": 1e-12 if number == 0 else 1e-2, "atol": 0}
        torch.testing.assert_close(table.sum(1), expected.sum(1), **close)
        torch.testing.assert_close(sparse.weights, expected.gather(1, sparse.partners), **close)


def test_rows_that_are_not_updated_stay_and_the_sum_is_one():
    sparse, rows = PartnerWeights(CLASSES, 3), torch.tensor([2, 7])
    before = sparse.table(torch.arange(CLASSES))
    sparse.update(rows, errors(0).__getitem__, Boosted(), 1)
    after = sparse.table(torch.arange(CLASSES))
    others = torch.tensor([c for c in range(CLASSES) if c not in rows])
    assert torch.equal(after[others], before[others])
    assert float(after.sum()) == pytest.approx(1)
    assert not torch.equal(after[rows], before[rows])


@pytest.fixture
def taking_turns(monkeypatch):
    monkeypatch.setattr("mtl.samplers.class_survey.LARGE", 5)
    monkeypatch.setattr("mtl.samplers.class_survey.PART", 4)


def labels(classes=CLASSES, each=10):
    return torch.arange(classes).repeat_interleave(each)


def sampler(name, **keys):
    keys = {"share": 1.0, "warm_up": 0.0, "fade": 0.0, "every": 4, **keys}
    return sampler_of(name, ClassIndex.of(labels()), EpisodeShape(3, 1, 3), **keys)


def picture_features(images, size=6):
    """(n, D) features of images that float16 holds exactly, those of a class near each other."""
    near = torch.randn(CLASSES, size, generator=generator(1, "classes"))[labels()[images]]
    each = torch.randn(len(labels()), size, generator=generator(2, "images"))[images]
    return (near + each / 2).half().float()


@pytest.mark.parametrize("name", ["boosted", "neighbours", "fisher"])
def test_the_first_round_looks_at_all_classes_and_later_ones_by_turns(taking_turns, name):
    learned, seen = sampler(name), []
    for _ in range(1 + 9):  # nine parts of four are four passes of nine classes
        request = learned.request(0)
        seen.append(labels()[request].unique())
        copy = sampler(name)
        copy.load_state_dict(learned.state_dict())
        assert torch.equal(copy.request(0), request)
        ended = learned.receive(request, picture_features(request))
        assert ended is None or ended.pool == len(seen[-1])
    assert [len(part) for part in seen] == [CLASSES] + [4] * 9
    assert torch.cat(seen[1:]).bincount().tolist() == [4] * CLASSES
    assert len(set(learned.draw(1).classes.flatten().tolist())) == 3


@pytest.mark.parametrize("name", ["boosted", "neighbours"])
def test_the_first_round_finds_the_partners_that_are_found_without_turns(monkeypatch, name):
    found = []
    for large in (5000, 5):
        monkeypatch.setattr("mtl.samplers.class_survey.LARGE", large)
        learned = sampler(name)
        request = learned.request(0)
        ended = learned.receive(request, picture_features(request))
        found.append(learned.nearest.sort(1).values.tolist())
        assert ended.neighbourhoods.accuracy.shape == (CLASSES,)
    assert found[0] == found[1]


def test_neighbourhoods_and_draws_by_weight_follow_the_kept_weights(taking_turns):
    learned = sampler("boosted", first="boosted", draw="weight")
    for _ in range(3):
        request = learned.request(0)
        ended = learned.receive(request, picture_features(request))
    assert ended.unit == "neighbourhood"
    assert float(learned.weights.sum()) == pytest.approx(1)
    assert len(ended.neighbourhoods.classes) == 4
    assert len(set(learned.draw(1).classes.flatten().tolist())) == 3
    with pytest.raises(UserError, match="counted is for up to"):
        sampler("boosted", errors="counted")
