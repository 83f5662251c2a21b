"""The base learners against what is usual.

Gradient descent against a loop over tasks with autograd, and learn2learn's ANIL; logistic regression against
a fixed number of accelerated gradient steps, through which autograd goes back.
"""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import Row, Work, paired
from benchmarks.workload import CASES, INNER_STEPS, TINY, Case, workload
from mtl.learners.learner import episode_labels
from mtl.models.heads import LinearHead, gradient_descent, logistic
from mtl.runtime.seeds import generator
from mtl.training.solve import meta_step

TASKS, WAY, QUERIES, RATE = 4, 5, 15, 0.01
AT_LEAST = {"first": 5.0, "second": 10.0}
STEPS, LENGTH, PENALTY = 200, 10.0, 1.0  # of logistic regression; 200 steps are too few for 20-way 5-shot
Order = Literal["first", "second"]
Adapt = Callable[[Tensor, Tensor, Tensor, Order], Tensor]  # support, labels, query, order to query logits


def rows(quick: bool) -> Iterator[Row]:
    """Adaptation alone, forward and backward; then whole steps with the one and with the other."""
    others: dict[str, Adapt] = {"loop over tasks": loop_over_tasks}
    if importlib.util.find_spec("learn2learn"):  # not to be had on Python 3.13
        others["learn2learn ANIL"] = learn2learn_anil
    orders: tuple[Order, ...] = ("first", "second")
    for features, shot in ((64, 1),) if quick else ((64, 1), (64, 5), (640, 1), (640, 5)):
        for order in orders:
            for name, adapt in others.items():
                ours, theirs = (episodes(a, features, shot, order) for a in (in_the_span, adapt))
                found = paired(theirs, ours, 1 if quick else 9)
                what = f"{name}, {order} order, {shot}-shot, D = {features}: adaptation"
                yield Row(what, found.ratio, "×", AT_LEAST[order], False, str(found))
    for way, shot in ((5, 1),) if quick else ((5, 1), (5, 5), (20, 1), (20, 5)):
        ours, theirs = (regressions(fit, way, shot) for fit in (logistic, accelerated))
        found = paired(theirs, ours, 1 if quick else 9)
        what = f"logistic regression, {way}-way {shot}-shot: {STEPS} accelerated steps over Newton's method"
        yield Row(what, found.ratio, "×", 1.0, False, str(found))
    for order in orders:
        for name in others:
            yield whole_step(TINY[0] if quick else CASES[0], name, order)


def in_the_span(support: Tensor, labels: Tensor, query: Tensor, order: Order) -> Tensor:
    """This project's: all tasks at once."""
    start = torch.zeros(WAY, support.shape[-1]), torch.zeros(WAY)
    first = order == "first"
    head = gradient_descent(support, labels, start, steps=INNER_STEPS, lr=RATE, first_order=first)
    return head(query)


def loop_over_tasks(support: Tensor, labels: Tensor, query: Tensor, order: Order) -> Tensor:
    """As published: one task after another, each step by autograd.grad on the head's weights."""
    second, logits = order == "second", []
    for x, y, q in zip(support, labels, query, strict=True):
        weight = torch.zeros(WAY, x.shape[-1], requires_grad=True)
        bias = torch.zeros(WAY, requires_grad=True)
        for _ in range(INNER_STEPS):
            inputs = x if second else x.detach()
            loss = F.cross_entropy(F.linear(inputs, weight, bias), y)
            slopes = torch.autograd.grad(loss, (weight, bias), create_graph=second)
            weight, bias = (p - RATE * slope for p, slope in zip((weight, bias), slopes, strict=True))
        logits.append(F.linear(q, weight, bias))
    return torch.stack(logits)


def learn2learn_anil(support: Tensor, labels: Tensor, query: Tensor, order: Order) -> Tensor:
    """learn2learn's MAML of a linear head, the way its ANIL example takes it."""
    from mtl.runtime.learn2learn_package import import_learn2learn

    head = import_learn2learn("benchmarks").algorithms.MAML(
        nn.Linear(support.shape[-1], WAY), lr=RATE, first_order=order == "first"
    )
    logits = []
    for x, y, q in zip(support, labels, query, strict=True):
        clone = head.clone()
        for _ in range(INNER_STEPS):
            clone.adapt(F.cross_entropy(clone(x), y))
        logits.append(clone(q))
    return torch.stack(logits)


def episodes(adapt: Adapt, features: int, shot: int, order: Order) -> Callable[[], object]:
    """Adapts a meta-batch of random features and takes the loss's gradient by all of them."""
    random = generator(0, "features", features, shot)
    size = (TASKS, WAY * (shot + QUERIES), features)
    x = torch.randn(size, generator=random).requires_grad_()
    labels = episode_labels(TASKS, WAY, shot, x.device)
    wanted = episode_labels(TASKS, WAY, QUERIES, x.device).flatten()

    def one() -> object:
        x.grad = None
        logits = adapt(x[:, : WAY * shot], labels, x[:, WAY * shot :], order)
        loss = F.cross_entropy(logits.flatten(0, 1), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return one


def accelerated(support: Tensor, labels: Tensor, way: int, penalty: float) -> LinearHead:
    """Logistic regression by Nesterov's method on coefficients, a fixed number of steps."""
    onehot = F.one_hot(labels, way).to(support.dtype).mT.contiguous()
    gram = support @ support.mT + 1
    smooth = (0.5 * torch.linalg.eigvalsh(gram.detach())[..., -1] + penalty)[:, None, None]
    momentum = (1 - (penalty / smooth).sqrt()) / (1 + (penalty / smooth).sqrt())
    here = ahead = torch.zeros_like(onehot)
    for _ in range(STEPS):
        there = ahead - (torch.softmax(ahead @ gram, 1) - onehot + penalty * ahead) / smooth
        here, ahead = there, there + momentum * (there - here)
    return LinearHead(here @ support, here.sum(-1))


def regressions(fit: Callable[[Tensor, Tensor, int, float], LinearHead], way: int, shot: int) -> Work:
    """Fits a meta-batch of classes that overlap and takes the loss's gradient by all features."""
    random = generator(0, "classes", way, shot)
    centres = 0.6 * torch.randn((TASKS, way, 1, 64), generator=random)
    images = F.relu(centres + torch.randn((TASKS, way, shot + QUERIES, 64), generator=random))
    x = (LENGTH * F.normalize(images, dim=-1)).requires_grad_()
    labels = episode_labels(TASKS, way, shot, x.device)
    wanted = episode_labels(TASKS, way, QUERIES, x.device).flatten()

    def one() -> object:
        x.grad = None
        head = fit(x[:, :, :shot].flatten(1, 2), labels, way, PENALTY)
        loss = F.cross_entropy(head(x[:, :, shot:].flatten(1, 2)).flatten(0, 1), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return one


def whole_step(case: Case, name: str, order: Order) -> Row:
    """Backbone, adaptation and update, in bfloat16, where the backbone leaves the most to be seen."""
    ours = workload(case, 1, "bfloat16", order=order)
    theirs = workload(case, 1, "bfloat16", algorithm="anil" if "ANIL" in name else "mtl", order=order)
    batch = ours.draw()
    images = ours.images(batch)
    if "ANIL" not in name:
        theirs.learner.solve_features = looped(order)  # type: ignore[method-assign,assignment]

    def step(learner: nn.Module, optimizer: torch.optim.Optimizer) -> object:
        learner.train()
        return meta_step(learner, optimizer, images, batch, ours.pictures.at_once)  # type: ignore[arg-type]

    found = paired(
        lambda: step(theirs.learner, theirs.optimizer),
        lambda: step(ours.learner, ours.optimizer),
        max(3, case.pairs // 3),
    )
    what = f"{case}: whole step with {name}, {order} order"
    return Row(what, found.ratio, "×", 1.0, False, str(found))


def looped(order: Order) -> Callable[[Tensor, int, int], Tensor]:
    """A learner's `solve_features` by the loop over tasks."""

    def solve(features: Tensor, way: int, shot: int) -> Tensor:
        labels = episode_labels(len(features), way, shot, features.device)
        return loop_over_tasks(features[:, : way * shot], labels, features[:, way * shot :], order)

    return solve
