"""learn2learn's algorithms on this project's episodes, against loops written by hand."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from mtl.config import Config, Evaluate, HardTasks, Meta
from mtl.errors import UserError
from mtl.learners import build_learner
from mtl.learners.learner import episode_labels
from mtl.runtime.learn2learn_package import import_learn2learn

WAY, SHOT, QUERIES, RATE, STEPS = 3, 2, 4, 0.05, 3
CPU = torch.device("cpu")
SUPPORT_LABELS = episode_labels(1, WAY, SHOT, CPU)[0]
QUERY_LABELS = episode_labels(1, WAY, QUERIES, CPU)[0]


@pytest.fixture
def learner(backbone, cpu):
    try:
        import_learn2learn("this test")
    except UserError as absent:
        pytest.skip(str(absent))

    def make(algorithm, order="second", batch_norm="frozen", seed=0):
        meta = Meta(
            algorithm=algorithm, way=WAY, order=order, batch_norm=batch_norm, inner_lr=RATE, inner_steps=STEPS
        )
        config = Config(
            meta=meta, hard_tasks=HardTasks("boosted_pool"), evaluate=Evaluate(settings=((WAY, SHOT),))
        )
        return build_learner(config, backbone(), cpu, torch.Generator().manual_seed(seed))

    return make


def _parts(learner):
    """Backbone and classifier of a learner."""
    if learner.config.algorithm == "anil":
        return learner.backbone, learner.adapted.module
    return learner.adapted.module[0], learner.adapted.module[1]


def _by_hand(learner, task, first_order):
    """Query logits of one task: the inner loop written out on dictionaries of weights."""
    backbone, classifier = _parts(learner)
    body, head = dict(backbone.named_parameters()), dict(classifier.named_parameters())
    rates = [torch.tensor(RATE)] * (len(body) + len(head))
    if learner.config.algorithm == "meta_sgd":
        rates = list(learner.adapted.lrs)

    def answer(body, head, images):
        return functional_call(classifier, head, functional_call(backbone, body, images))

    for _ in range(STEPS):
        loss = F.cross_entropy(answer(body, head, task[: WAY * SHOT]), SUPPORT_LABELS)
        adapted = head if learner.config.algorithm == "anil" else {**body, **head}
        gradients = torch.autograd.grad(
            loss, list(adapted.values()), create_graph=not first_order, retain_graph=True
        )
        stepped = {
            name: weight - rate * gradient
            for (name, weight), gradient, rate in zip(adapted.items(), gradients, rates, strict=False)
        }
        body = {name: stepped.get(name, weight) for name, weight in body.items()}
        head = {name: stepped[name] for name in head}
    return answer(body, head, task[WAY * SHOT :])


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta_sgd"])
def test_answers_and_gradients_are_those_of_the_loop_by_hand(learner, episodes, algorithm, order):
    images, made = episodes(2, WAY, SHOT, QUERIES), learner(algorithm, order)
    made.train()
    logits = made.solve(images, WAY, SHOT)
    expected = torch.stack([_by_hand(made, task, order == "first") for task in images])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)

    targets, parameters = QUERY_LABELS.repeat(2), made.meta_parameters()
    found, by_hand = (
        torch.autograd.grad(F.cross_entropy(x.flatten(0, 1), targets), parameters) for x in (logits, expected)
    )
    for one, other in zip(found, by_hand, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta_sgd"])
def test_a_meta_test_adapts_as_training_does_and_leaves_no_trace(learner, episodes, algorithm):
    images, made = episodes(2, WAY, SHOT, QUERIES), learner(algorithm)
    made.eval()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    with torch.no_grad():
        tested = made.solve(images, WAY, SHOT)
    assert not tested.requires_grad
    torch.testing.assert_close(tested, made.solve(images, WAY, SHOT).detach())
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(p.grad is None for p in made.parameters())


@pytest.mark.parametrize("batch_norm", ["frozen", "update"])
def test_anil_can_compute_its_features_once(learner, episodes, batch_norm):
    images, made = episodes(2, WAY, SHOT, QUERIES), learner("anil", batch_norm=batch_norm)
    assert made.features_cacheable
    made.eval()
    with torch.no_grad():
        features = torch.stack([made.features(task) for task in images])
        torch.testing.assert_close(made.solve_features(features, WAY, SHOT), made.solve(images, WAY, SHOT))


@pytest.mark.parametrize(
    ("algorithm", "batch_norm"), [("maml", "frozen"), ("meta_sgd", "frozen"), ("anil", "episode")]
)
def test_what_adapts_the_features_does_not_compute_them_once(learner, algorithm, batch_norm):
    assert not learner(algorithm, batch_norm=batch_norm).features_cacheable


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta_sgd"])
def test_by_its_own_statistics_a_task_does_not_depend_on_the_others(learner, episodes, algorithm, training):
    images, made = episodes(3, WAY, SHOT, QUERIES), learner(algorithm, batch_norm="episode")
    made.train(training)
    before = {name: b.clone() for name, b in made.named_buffers()}
    together = made.solve(images, WAY, SHOT)
    torch.testing.assert_close(made.solve(images[1:2], WAY, SHOT)[0], together[1])
    assert all(torch.equal(b, before[name]) for name, b in made.named_buffers())


@pytest.mark.parametrize(("algorithm", "tensors"), [("maml", 18), ("anil", 18), ("meta_sgd", 36)])
def test_meta_training_learns_every_weight_and_meta_sgd_a_rate_for_each(learner, algorithm, tensors):
    assert len(learner(algorithm).meta_parameters()) == tensors


def test_the_classifier_starts_where_the_generator_says(learner):
    first, again, other = (_parts(learner("maml", seed=s))[1].weight for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta_sgd"])
def test_without_learn2learn_it_is_one_sentence(backbone, cpu, monkeypatch, algorithm):
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    with pytest.raises(UserError) as caught:
        build_learner(
            Config(meta=Meta(algorithm=algorithm), hard_tasks=HardTasks("boosted_pool")),
            backbone(),
            cpu,
            torch.Generator(),
        )
    told = str(caught.value)
    assert told.startswith(f"meta.algorithm: {algorithm} needs learn2learn, which is not installed")
    assert "\n" not in told
