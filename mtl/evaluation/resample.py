"""Drawing the worst novel tasks again: are their classes hard, or was the support set unlucky?

The same AdaBoost rounds as in training, with nothing trained: the pool is the worst of the tasks that were
just scored, and every round tests each of them with fresh support and query images of the same classes. As a
control, as many of the other tasks, drawn at random, are tested again in the same way: what the worst tasks
win over them when nothing was learned in between is regression to the mean.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.config import Resample
from mtl.config.hard_tasks import Boosting
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, Outcome, Round
from mtl.evaluation.baselines import Baseline
from mtl.ledger.store import Ledger
from mtl.runtime.seeds import generator
from mtl.samplers.boosting import boost
from mtl.stats import mean_interval
from mtl.training.ledger_rounds import record_round

HARD, UNLUCKY, UNDECIDED = "hard classes", "unlucky support", "undecided"
PICKED, CONTROL = "resampled", "control"  # origins of their episodes in the ledger


@dataclass(frozen=True)
class Resampled:
    """What became of the worst tasks."""

    tasks: int
    rounds: int
    accuracy_picked: float  # mean of the worst tasks as first scored
    accuracy_fresh: float  # mean of the same tasks with fresh images
    accuracy_all: float  # mean of all scored tasks
    verdicts: dict[str, int]
    control: int  # tasks drawn at random from the others and tested again as well
    control_first: float | None  # their mean as first scored; None where there are no others
    control_fresh: float | None  # ... and with fresh images


def resample_worst(
    contender: Baseline,
    scored: EpisodeBatch,
    outcome: Outcome,
    index: ClassIndex,
    config: Resample,
    rule: Boosting,
    seed: int,
    ledger: Ledger,
    phase: str,
    split: str,
) -> Resampled | None:
    """Tests the worst scored tasks again in `config.rounds` rounds, and records each task's verdict.

    Returns None where the config asks for no rounds.
    """
    if not config.rounds:
        return None
    worst = outcome.accuracy.argsort(stable=True)[: config.tasks]
    others = outcome.accuracy.argsort(stable=True)[config.tasks :]
    drawn = torch.randperm(len(others), generator=generator(seed, "control", scored.way, scored.shot))
    control = others[drawn[: len(worst)]]
    classes, first = scored.classes[worst], outcome.accuracy[worst]
    everything = float(outcome.accuracy.mean())
    weights = torch.full((len(worst),), 1 / len(worst), dtype=torch.float64)
    fresh: list[Tensor] = []
    controlled: list[Tensor] = []
    for number in range(1, config.rounds + 1):
        pool = _fresh_images(classes, PICKED, scored, index, seed, number)
        tested = contender.solve(pool)
        step = boost(weights, 1 - tested.accuracy, torch.ones(len(worst), dtype=torch.bool), rule, scored.way)
        weights = step.weights
        fresh.append(tested.accuracy)
        ledger.append(phase, number, 0, pool, tested, split)
        mean = float(tested.accuracy.mean())
        members = classes.__getitem__
        ended = Round(number, "task", len(pool), mean, 0.0, step.epsilon, step.alpha, weights, members)
        record_round(ledger, phase, split, 0, ended)
        if len(control):
            beside = _fresh_images(scored.classes[control], CONTROL, scored, index, seed, number)
            tested = contender.solve(beside)
            controlled.append(tested.accuracy)
            ledger.append(phase, number, 0, beside, tested, split)
    again = torch.stack(fresh, 1)  # (tasks, rounds)
    verdicts = [verdict(float(f), a, everything) for f, a in zip(first, again, strict=True)]
    for task, word in zip(classes, verdicts, strict=True):
        ledger.set_verdict(phase, task.tolist(), word)
    counts = {word: verdicts.count(word) for word in (HARD, UNLUCKY, UNDECIDED)}
    return Resampled(
        len(worst),
        config.rounds,
        float(first.mean()),
        float(again.mean()),
        everything,
        counts,
        len(control),
        float(outcome.accuracy[control].mean()) if len(control) else None,
        float(torch.stack(controlled).mean()) if controlled else None,
    )


def verdict(first: float, again: Tensor, everything: float) -> str:
    """Why a task was among the worst, from its accuracies (R,) with fresh images.

    Hard classes: the 95 % interval of its mean lies below the mean of all tasks. Unlucky support: it does
    not, and lies above the accuracy that the task was picked for. Undecided otherwise.
    """
    if len(again) < 2:
        return UNDECIDED
    mean, half = mean_interval(again.tolist())
    if mean + half < everything:
        return HARD
    return UNLUCKY if mean - half > first else UNDECIDED


def _fresh_images(
    classes: Tensor, origin: str, scored: EpisodeBatch, index: ClassIndex, seed: int, number: int
) -> EpisodeBatch:
    shot, purpose = scored.shot, "resample" if origin == PICKED else origin
    images = [
        index.draw_episode(c, shot, scored.queries, generator(seed, purpose, scored.way, shot, number, task))
        for task, c in enumerate(classes)
    ]
    return EpisodeBatch.of(classes, torch.stack(images), shot, origin)
