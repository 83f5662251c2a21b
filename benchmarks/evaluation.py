"""Evaluating 10,000 episodes with cached features, beside a feature pass and beside a loop over episodes."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Row, paired, told
from benchmarks.workload import CASES, TINY, backbone_of, normalise, random_images
from mtl.config import Head, Runtime
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape, Outcome
from mtl.learners.learner import episode_labels
from mtl.models.heads import BaseLearner
from mtl.runtime.devices import choose_device
from mtl.training.solve import SplitImages, extract, solve_table

WAY, QUERIES = 5, 15
MOST_OVER_PASS, LEAST_OVER_LOOP = 1.0, 50.0


def rows(quick: bool) -> Iterator[Row]:
    """Drawing and solving the episodes: with the default 20 inner steps and with the published 100."""
    case, per_class, count, looped = (TINY[0], 40, 100, 2) if quick else (CASES[1], 600, 10_000, 60)
    images, labels = random_images(case, classes=20, per_class=per_class)
    index, device = ClassIndex.of(labels), choose_device(Runtime(device="cpu", precision="bfloat16"))
    pictures = SplitImages(images, normalise(case), device.images_at_once(case.size))
    backbone = device.place(backbone_of(case)).eval()

    def feature_pass() -> Tensor:
        return extract(lambda x: device.forward(backbone, x), pictures, torch.arange(len(images)))

    table, pairs = feature_pass(), 1 if quick else 5
    for steps in (20, 100):
        learner = BaseLearner(Head(inner_steps=steps), table.shape[-1], WAY)
        for shot in (1, 5):
            at_once = evaluation(learner, index, shot, table, count)
            what = f"{count:,} episodes, {shot}-shot, {steps} inner steps"
            found = paired(at_once, feature_pass, pairs)
            over = f"{what} / feature pass of {len(images):,} images"
            yield Row(over, found.ratio, "×", MOST_OVER_PASS, True, str(found))

            found = paired(loop(learner, index, shot, table, looped), at_once, pairs)
            figures = f"{told(found.a / looped)} over {told(found.b / count)} an episode"
            gain = found.ratio * count / looped
            yield Row(f"loop over episodes / {what}", gain, "×", LEAST_OVER_LOOP, False, figures)


def evaluation(
    learner: BaseLearner, index: ClassIndex, shot: int, table: Tensor, count: int
) -> Callable[[], Outcome]:
    """Draws and solves `count` episodes the way an evaluation does."""

    def one() -> Outcome:
        episodes = CategoriesSampler.of(index, EpisodeShape(WAY, shot, QUERIES)).draw(count)
        embedded = learner.transform_features(table).detach()
        return solve_table(answer(learner), embedded, episodes.image_indices(), episodes)

    return one


def answer(learner: BaseLearner) -> Callable[[Tensor, int, int], Tensor]:
    """Query logits of embedded features."""

    def solve(features: Tensor, way: int, shot: int) -> Tensor:
        labels = episode_labels(len(features), way, shot, features.device)
        return learner.adapt(features[:, : way * shot], labels, features[:, way * shot :], way)

    return solve


def loop(
    learner: BaseLearner, index: ClassIndex, shot: int, table: Tensor, count: int
) -> Callable[[], list[float]]:
    """Solves `count` episodes as the published code does: one by one, each step by autograd.grad."""
    episodes = CategoriesSampler.of(index, EpisodeShape(WAY, shot, QUERIES)).draw(count)
    scale, rate = learner.log_scale.exp().item(), learner.log_inner_lr.exp().item()
    labels, wanted = (episode_labels(1, WAY, k, table.device)[0] for k in (shot, QUERIES))

    def solve(features: Tensor) -> float:
        support, query = features[: len(labels)], features[len(labels) :]
        weight = support.view(WAY, -1, support.shape[-1]).mean(1) / scale
        bias = -0.5 * scale * weight.square().sum(-1)
        for _ in range(learner.config.inner_steps):
            weight, bias = weight.detach().requires_grad_(), bias.detach().requires_grad_()
            loss = F.cross_entropy(F.linear(support, weight, bias), labels)
            slopes = torch.autograd.grad(loss, (weight, bias))
            weight, bias = weight - rate * slopes[0], bias - rate * slopes[1]
        return (F.linear(query, weight, bias).argmax(-1) == wanted).float().mean().item()

    return lambda: [solve(F.normalize(table[rows], dim=-1) * scale) for rows in episodes.image_indices()]
