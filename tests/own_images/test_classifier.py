"""A base learner fitted to a support set: what it answers, and with what it is refused."""

from typing import get_args, get_type_hints

import pytest
import torch
from made_classifiers import HEADS, embedder, fitted, images

from mtl.config import Head
from mtl.own_images.classifier import fit_classifier
from mtl.own_images.leave_one_out import fit_temperature
from mtl.own_images.support import Support


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_answers_are_those_of_the_base_learner(head):
    made = embedder(head=head)
    found, query = fitted(made), made(images(6, seed=1))
    support = found.support
    logits = made.learner.base_learner.adapt(support.features[None], support.labels[None], query[None], 3)[0]
    wanted = torch.softmax(logits.double() / found.temperature, 1)
    answers = found.answer(query)
    torch.testing.assert_close(answers.probabilities, wanted, rtol=1e-4, atol=1e-5)
    assert answers.probabilities.dtype == torch.float64
    assert answers.classes().tolist() == logits.argmax(1).tolist()
    assert answers.none is None
    assert found.temperature != 1
    none = found.answer(query, open_set=True).none
    assert none.shape == (6,)
    assert torch.equal(found.answer(query, open_set=True).probabilities, answers.probabilities)
    assert found.held_out.rows.tolist() == list(range(9))
    assert found.answer(query[:0]).probabilities.shape == (0, 3)


def test_the_temperature_is_fitted_around_that_of_the_run():
    made = embedder()
    found = fitted(made)
    assert found.temperature == fit_temperature(found.held_out, found.support, made.temperatures)
    assert found.temperature != fit_temperature(found.held_out, found.support, ())


def test_one_class_is_too_few():
    made = embedder()
    with pytest.raises(ValueError, match="two classes"):
        fit_classifier(made, Support.of(made(images(2)), ["a", "a"], ["1", "2"]))


def test_a_learned_start_serves_one_number_of_classes():
    made = embedder(head=Head(init="learned"))
    assert fitted(made).classes == ("ash", "elm", "oak")
    with pytest.raises(ValueError, match="serves 3 ways, not 2"):
        fitted(made, (2, 2), ("ash", "elm"))


def test_where_no_class_has_two_images_unlike_ones_cannot_be_told():
    made = embedder()
    found = fitted(made, (1, 1, 1))
    assert found.answer(made(images(2))).probabilities.shape == (2, 3)
    with pytest.raises(ValueError, match="no class has two different images"):
        found.answer(made(images(2)), open_set=True)


def test_all_heads_are_tested():
    assert {head.name for head in HEADS.values()} == set(get_args(get_type_hints(Head)["name"]))
