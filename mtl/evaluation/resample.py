"""Drawing the worst novel tasks again: are their classes hard, or was the support set unlucky?

The same AdaBoost rounds as in training, with nothing trained: the pool is the worst of the tasks that were
just scored, and every round tests each of them with fresh support and query images of the same classes. As a
control, as many of the other tasks, drawn at random, are tested again in the same way: what the worst tasks
gain over them is regression to the mean, since nothing was learned in between.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.config import Config
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, Outcome, Round
from mtl.evaluation.baselines import Baseline
from mtl.ledger.store import Ledger
from mtl.runtime.seeds import generator
from mtl.samplers.boosting import boost
from mtl.stats import mean_interval
from mtl.training.stage import record_round

HARD, UNLUCKY, UNDECIDED = "hard classes", "unlucky support", "undecided"
PICKED, CONTROL = "resampled", "control"  # origins of their episodes in the ledger


@dataclass(frozen=True)
class Resampled:
    """How the worst tasks did when drawn again."""

    tasks: int
    rounds: int
    accuracy_picked: float  # mean of the worst tasks as first scored
    accuracy_fresh: float  # mean of the same tasks with fresh images
    accuracy_all: float  # mean of all scored tasks
    verdicts: dict[str, int]
    control: int  # tasks drawn at random from the others and tested again as well
    control_first: float | None  # their mean as first scored; None where there are no others
    control_fresh: float | None  # ... and with fresh images


@dataclass(frozen=True)
class Scored:
    """A learner's outcome at one setting, and the names under which the ledger has it."""

    learner: Baseline
    episodes: EpisodeBatch
    outcome: Outcome
    index: ClassIndex  # of the split that is scored
    phase: str
    split: str


def resample_worst(scored: Scored, config: Config, ledger: Ledger) -> Resampled | None:
    """Tests the worst scored tasks again with fresh images, and records the verdict on each.

    None where `evaluate.resample.rounds` is 0.
    """
    resample, seed = config.evaluate.resample, config.seed
    if not resample.rounds:
        return None
    episodes, outcome = scored.episodes, scored.outcome
    order = outcome.accuracy.argsort(stable=True)
    worst, others = order[: resample.tasks], order[resample.tasks :]
    drawn = torch.randperm(len(others), generator=generator(seed, "control", episodes.way, episodes.shot))
    control = others[drawn[: len(worst)]]
    classes, first = episodes.classes[worst], outcome.accuracy[worst]
    overall = float(outcome.accuracy.mean())
    visited, rule = torch.ones(len(worst), dtype=torch.bool), config.hard_tasks.boosting
    weights = torch.full((len(worst),), 1 / len(worst), dtype=torch.float64)
    fresh: list[Tensor] = []
    controlled: list[Tensor] = []
    for number in range(1, resample.rounds + 1):
        pool = _fresh_images(classes, PICKED, scored, seed, number)
        tested = scored.learner.solve(pool)
        step = boost(weights, 1 - tested.accuracy, visited, rule, episodes.way)
        weights = step.weights
        fresh.append(tested.accuracy)
        ledger.append(scored.phase, number, 0, pool, tested, scored.split)
        mean = float(tested.accuracy.mean())
        members = classes.__getitem__
        ended = Round(number, "task", len(pool), mean, 0.0, step.epsilon, step.alpha, weights, members)
        record_round(ledger, scored.phase, scored.split, 0, ended)
        if len(control):
            pool = _fresh_images(episodes.classes[control], CONTROL, scored, seed, number)
            tested = scored.learner.solve(pool)
            controlled.append(tested.accuracy)
            ledger.append(scored.phase, number, 0, pool, tested, scored.split)
    again = torch.stack(fresh, 1)  # (tasks, rounds)
    verdicts = [verdict(float(f), a, overall) for f, a in zip(first, again, strict=True)]
    for task, word in zip(classes, verdicts, strict=True):
        ledger.set_verdict(scored.phase, task.tolist(), word)
    return Resampled(
        tasks=len(worst),
        rounds=resample.rounds,
        accuracy_picked=float(first.mean()),
        accuracy_fresh=float(again.mean()),
        accuracy_all=overall,
        verdicts={word: verdicts.count(word) for word in (HARD, UNLUCKY, UNDECIDED)},
        control=len(control),
        control_first=float(outcome.accuracy[control].mean()) if len(control) else None,
        control_fresh=float(torch.stack(controlled).mean()) if controlled else None,
    )


def verdict(first: float, again: Tensor, overall: float) -> str:
    """Why a task was among the worst, from its accuracies (R,) with fresh images.

    Hard classes: the 95 % interval of its mean is below `overall`, the mean of all tasks. Unlucky support: it
    is not, and is above `first`, the accuracy that the task was picked for. Undecided otherwise.
    """
    if len(again) < 2:
        return UNDECIDED
    mean, half = mean_interval(again.tolist())
    if mean + half < overall:
        return HARD
    return UNLUCKY if mean - half > first else UNDECIDED


def _fresh_images(classes: Tensor, origin: str, scored: Scored, seed: int, number: int) -> EpisodeBatch:
    """Tasks of these classes (T, N), their images drawn for round `number`."""
    shape, purpose = scored.episodes, "resample" if origin == PICKED else origin
    images = [
        scored.index.draw_episode(
            c, shape.shot, shape.queries, generator(seed, purpose, shape.way, shape.shot, number, task)
        )
        for task, c in enumerate(classes)
    ]
    return EpisodeBatch.of(classes, torch.stack(images), shape.shot, origin)
