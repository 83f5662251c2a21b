"""Classifiers of pretraining: their formulas, and where their first weights come from."""

import math

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Pretrain
from mtl.models.classifiers import LinearClassifier, angle_classifier, build_classifier, parts

FEATURES = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 2, 0])


def _built(seed=0, **config):
    return build_classifier(Pretrain(**config), 7, 3, torch.Generator().manual_seed(seed))


def test_cosines_are_those_of_the_angles():
    classifier = _built(classifier="cosine", scale=20)
    logits = classifier(FEATURES).detach()
    for b in range(5):
        for c in range(3):
            x, w = FEATURES[b].tolist(), classifier.weight[c].tolist()
            cosine = sum(map(float.__mul__, x, w)) / math.hypot(*x) / math.hypot(*w)
            assert float(logits[b, c]) == pytest.approx(20 * cosine, abs=1e-4)


def test_the_margin_is_taken_off_the_own_class_alone_and_only_where_labels_are_given():
    plain, strict = (_built(classifier="cosine", scale=10, margin=m) for m in (0.0, 0.3))
    lost = plain(FEATURES) - strict(FEATURES, LABELS)
    torch.testing.assert_close(lost, 10 * 0.3 * F.one_hot(LABELS, 3), atol=1e-5, rtol=0)
    assert torch.equal(strict(FEATURES), plain(FEATURES, LABELS))


def test_a_linear_classifier_is_linear_whatever_the_labels():
    classifier = _built(classifier="linear")
    assert isinstance(classifier, LinearClassifier)
    expected = FEATURES @ classifier.weight.T + classifier.bias
    torch.testing.assert_close(classifier(FEATURES), expected)
    assert torch.equal(classifier(FEATURES, LABELS), classifier(FEATURES))


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_weights_follow_the_generator_and_leave_the_global_one_alone(kind):
    before = torch.random.get_rng_state()
    first, again, other = (_built(seed, classifier=kind).weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_several_networks_have_a_classifier_each_and_answer_with_the_mean(kind):
    features = torch.randn(5, 14, generator=torch.Generator().manual_seed(1))
    drawn = torch.Generator().manual_seed(0)
    both = build_classifier(Pretrain(classifier=kind), 14, 3, drawn, networks=2)
    (first, left), (second, right) = parts(both, features)
    assert torch.equal(torch.cat([left, right], 1), features)
    torch.testing.assert_close(both(features), (first(features[:, :7]) + second(features[:, 7:])) / 2)
    assert torch.equal(first.weight, _built(classifier=kind).weight)


def test_one_network_has_one_classifier_of_the_whole_feature():
    turns = angle_classifier(7, torch.Generator().manual_seed(0))
    ((classifier, part),) = parts(turns, FEATURES)
    assert classifier is turns
    assert torch.equal(part, FEATURES)
