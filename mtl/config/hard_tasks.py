"""The section `hard_tasks`: which sampler draws the training episodes, and what it takes for hard."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mtl.config.values import STRICT, NonNegative, Positive, Rate, Several, Share, Size, Tasks, UpTo10000

SURVEYED = frozenset({"all_pairs", "fisher", "neighbours"})  # samplers that look at features of the classes


@dataclass(frozen=True, config=STRICT)
class HardTasks:
    """Finding the tasks that the learner fails, and resampling them.

    The comment behind a key names the samplers that read it.
    """

    sampler: Literal[
        "uniform",
        "boosted",
        "all_pairs",
        "meta_batch",
        "random_pool",
        "easy",
        "class_pair",
        "posterior",
        "learning_progress",
        "uniform_difficulty",
        "fisher",
        "neighbours",
        "within_group",
        "self_paced",
    ] = "boosted"  # goes with every algorithm; shipped configs have neighbours, which gained most
    objective: Literal["mean", "ohem", "cvar"] = "mean"  # of a meta-batch's losses, with any sampler
    tail: Annotated[float, Field(gt=0, le=1)] = 0.5  # ohem, cvar: share of the tasks that count, the worst

    # when, and how often: all but uniform, uniform_difficulty, meta_batch and its two controls
    share: Share = 0.5  # ρ: share of chosen episodes when fully warmed up
    warm_up: Share = 0.1  # share of the steps in which ρ climbs from 0
    fade: Share = 0.2  # share of the steps at the end in which ρ falls to 0
    every: Positive = 100  # steps from one round to the next: boosted meta-tests its pool; all_pairs, fisher
    #   and neighbours look at the classes anew; the others write their weights down

    snapshots: UpTo10000 = 0  # networks of so many last rounds that are kept, to vote at evaluation

    unit: Literal["task", "class", "pair"] = "pair"  # boosted: what carries a weight
    pool: Tasks = 40  # boosted: tasks of one round's meta-test
    rate: NonNegative = 0.5  # boosted, all_pairs, ν: how much of AdaBoost's α is used; class_pair, α
    forget: Share = 0.9  # boosted, all_pairs, class_pair, τ: power on the old weights; posterior,
    #   learning_progress, within_group, self_paced: what is left of a class's older answers at each visit
    floor: Share = 0.1  # boosted, all_pairs, posterior, learning_progress, λ: share spread evenly
    cap: Rate = 2.0  # boosted, all_pairs: α never exceeds this
    fresh: bool = True  # boosted: resampled tasks of the unit `task` get fresh images

    draw: Literal["thompson", "softmax"] = "thompson"  # posterior
    temperature: Rate = 0.1  # posterior with softmax, within_group: of the classes' errors
    slow: Share = 0.98  # learning_progress: like `forget`, of the estimate that lags behind
    look: Several = 10  # all_pairs, fisher, neighbours: images of each class looked at
    neighbours: Positive | None = None  # neighbours: the others are drawn from so many nearest, at least
    #   N − 1; 3 N where it is null
    within: Literal["uniform", "hard"] = "uniform"  # within_group: which classes of the group
    candidates: Several = 16  # fisher, self_paced: tasks that one is chosen from
    part: Annotated[float, Field(gt=0, le=1)] = 0.4  # fisher: share of the candidates, the hardest, that it
    #   is drawn from; self_paced: share, the easiest, at the start
    pace: Literal["grow", "move"] = "grow"  # self_paced: the share grows to all, or moves to the hardest

    collect: Size = 10  # meta_batch and its controls: meta-batches between two hard meta-batches
    hard: Size = 10  # the same, K': tasks drawn from the pool of classes
    hard_batches: Size | None = None  # the same: K' in meta-batches of meta.tasks tasks, instead of `hard`
    duplicates: Literal["drop", "keep", "adjacent"] = "drop"  # the same: a class met twice counts once, or
    #   twice; adjacent: once only if met in consecutive tasks, and it may then fill two ways of one task
    few: Literal["fill", "skip"] = "fill"  # the same: fewer classes in the pool than ways
    budget: Literal["inside", "extra"] = "inside"  # the same: hard tasks count towards meta.steps, or not
    ties: Literal["probability", "first"] = "probability"  # the same: of classes with the lowest accuracy the
    #   one with the least probability of its own, or the first of the task
    accuracies: Literal["emptied", "kept"] = "emptied"  # the same: each round starts a new list of class
    #   accuracies; or goes on with it, so that all rounds read the first round's part of it
    overlap: bool = False  # the same: support and query of a hard task drawn independently of each other
