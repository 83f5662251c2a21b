"""The section `hard_tasks`: which sampler draws the training episodes, and the options of each."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mtl.config.values import STRICT, NonNegative, Positive, Rate, Several, Share, Size, Tasks, UpTo10000

Part = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class Boosting:
    """The constants of SAMME; those of boosted_pool also serve resampling at evaluation and meta.sets."""

    rate: NonNegative = 0.5  # ν: how much of AdaBoost's α is used
    forget: Share = 0.9  # τ: power on the old weights
    floor: Share = 0.1  # λ: share of the weight spread evenly
    cap: Rate | None = 2.0  # α never exceeds this; null: no limit


@dataclass(frozen=True, config=STRICT)
class BoostedPool(Boosting):
    """`boosted_pool`: AdaBoost's weights, from meta-tests of a pool of tasks."""

    unit: Literal["task", "class", "pair"] = "pair"  # what carries a weight
    pool: Tasks = 40  # tasks of one round's meta-test
    fresh: bool = True  # resampled tasks of the unit `task` get fresh images


@dataclass(frozen=True, config=STRICT)
class Features:
    """What the samplers read that take features of the classes every so often."""

    look: Several = 10  # images of each class whose features are taken


@dataclass(frozen=True, config=STRICT)
class Boosted(Boosting, Features):
    """`boosted`: a class and some of those it is taken for, by AdaBoost's weights of all pairs of classes."""

    rate: NonNegative = 1.0
    forget: Share = 0.5
    floor: Share = 0.0
    cap: Rate | None = None
    nearest: Positive | None = None  # M: the others are drawn from the partners of the first class in its M
    #   heaviest pairs, at least N − 1; null: 3 N
    queries: Literal["boosted", "uniform"] = "boosted"  # which images of its classes a task asks about
    first: Literal["boosted", "uniform"] = "uniform"  # the class that a task is around
    draw: Literal["nearest", "weight"] = "nearest"  # weight: from all classes, by the weights of the pairs
    errors: Literal["estimated", "counted"] = "estimated"  # of a pair: from moments of features, or by count


@dataclass(frozen=True, config=STRICT)
class MetaBatch:
    """`meta_batch` and its controls `random_pool` and `easy`: tasks of the classes that failed worst."""

    collect: Size = 10  # meta-batches between two hard meta-batches
    hard: Size = 10  # K': tasks drawn from the pool of classes
    hard_batches: Size | None = None  # K' in meta-batches of meta.tasks tasks, instead of `hard`
    duplicates: Literal["drop", "keep", "adjacent"] = "drop"  # a class that failed twice counts once, or
    #   twice; adjacent: once only if in consecutive tasks, and it may then fill two ways of one task
    few: Literal["fill", "skip"] = "fill"  # fewer classes in the pool than ways
    budget: Literal["inside", "extra"] = "inside"  # hard tasks count towards meta.steps, or not
    ties: Literal["probability", "first"] = "probability"  # of classes with the lowest accuracy the one with
    #   the least probability for its own queries, or the first of the task
    accuracies: Literal["emptied", "kept"] = "emptied"  # each round starts a new list of class accuracies; or
    #   goes on with it, so that all rounds read the first round's part of it
    overlap: bool = False  # support and query of a hard task drawn independently of each other


@dataclass(frozen=True, config=STRICT)
class ClassPair:
    """`class_pair`: potentials of pairs of classes."""

    rate: NonNegative = 0.5  # α
    forget: Share = 0.9  # τ: power on the old potentials


@dataclass(frozen=True, config=STRICT)
class Posterior:
    """`posterior`: classes by a posterior of their recall."""

    draw: Literal["thompson", "softmax"] = "thompson"
    temperature: Rate = 0.1  # of the classes' errors, for softmax
    forget: Share = 0.9  # what is left of a class's older answers at each visit
    floor: Share = 0.1  # λ: share spread evenly, for softmax


@dataclass(frozen=True, config=STRICT)
class LearningProgress:
    """`learning_progress`: classes by how fast their recall changes."""

    forget: Share = 0.9  # what is left of a class's older answers at each visit
    slow: Share = 0.98  # the same, of the estimate that lags behind
    floor: Share = 0.1  # λ: share spread evenly


@dataclass(frozen=True, config=STRICT)
class Fisher(Features):
    """`fisher`: the hardest of uniform candidates."""

    candidates: Several = 16  # tasks that one is chosen from
    part: Part = 0.4  # share of the candidates, the hardest, that it is drawn from


@dataclass(frozen=True, config=STRICT)
class Neighbours(Features):
    """`neighbours`: a class and some of those nearest to it."""

    nearest: Positive | None = None  # M: the others are drawn from that many nearest classes, at least N − 1;
    #   null: 3 N


@dataclass(frozen=True, config=STRICT)
class WithinGroup:
    """`within_group`: classes of one alphabet, superclass or script."""

    within: Literal["uniform", "hard"] = "uniform"  # which classes of the group
    temperature: Rate = 0.1  # of the classes' errors, for hard
    forget: Share = 0.9  # what is left of a class's older answers at each visit


@dataclass(frozen=True, config=STRICT)
class SelfPaced:
    """`self_paced`: easy tasks first."""

    candidates: Several = 16  # tasks that one is chosen from
    part: Part = 0.4  # share of all tasks, the easiest, at the start
    pace: Literal["grow", "move"] = "grow"  # the share grows to all, or moves to the hardest
    forget: Share = 0.9  # what is left of a class's older answers at each visit


@dataclass(frozen=True, config=STRICT)
class HardTasks:
    """Finding the tasks that the learner fails, and resampling them.

    Each sampler has a section of its name; those without options have none.
    """

    sampler: Literal[
        "uniform",
        "boosted",
        "boosted_pool",
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
    ] = "boosted"
    objective: Literal["mean", "ohem", "cvar"] = "mean"  # of a meta-batch's losses, with any sampler
    tail: Part = 0.5  # ohem, cvar: share of the tasks that count, the worst
    snapshots: UpTo10000 = 0  # networks of that many last rounds are kept, to vote at evaluation

    # when, and how often: all samplers but uniform, uniform_difficulty, meta_batch and its two controls
    share: Share = 0.5  # ρ: share of chosen episodes when fully warmed up
    warm_up: Share = 0.1  # share of the steps in which ρ climbs from 0
    fade: Share = 0.2  # share of the steps at the end in which ρ falls to 0
    every: Positive = 100  # steps from one round to the next, with meta.learners = 1: boosted meta-tests all
    #   pairs of classes, boosted_pool its pool; fisher and neighbours take the features of the classes anew;
    #   the others write their weights down

    boosted: Boosted = Boosted()
    boosted_pool: BoostedPool = BoostedPool()
    meta_batch: MetaBatch = MetaBatch()
    random_pool: MetaBatch = MetaBatch()
    easy: MetaBatch = MetaBatch()
    class_pair: ClassPair = ClassPair()
    posterior: Posterior = Posterior()
    learning_progress: LearningProgress = LearningProgress()
    fisher: Fisher = Fisher()
    neighbours: Neighbours = Neighbours()
    within_group: WithinGroup = WithinGroup()
    self_paced: SelfPaced = SelfPaced()

    @property
    def options(self) -> Any:
        """The section of the chosen sampler; None where it has no options."""
        return getattr(self, self.sampler, None)

    @property
    def boosting(self) -> Boosting:
        """The constants of SAMME for what boosts beside the sampler: those of a pool, or the defaults."""
        return self.options if isinstance(self.options, BoostedPool) else Boosting()

    @property
    def needs_features(self) -> bool:
        """True if the sampler takes features of the classes."""
        return isinstance(self.options, Features)


_FIELDS = dataclasses.fields(HardTasks)
_SECTIONS = {f.name: f.default for f in _FIELDS if dataclasses.is_dataclass(f.default)}
_SCHEDULE = frozenset({"share", "warm_up", "fade", "every"})
_WITHOUT_SCHEDULE = frozenset({"uniform", "uniform_difficulty", "meta_batch", "random_pool", "easy"})


def is_read(key: str, sampler: str, sets: str = "uniform") -> bool:
    """True if the sampler reads a key of `hard_tasks`, or `meta.sets` does, which is `sets`."""
    if key in _SCHEDULE:
        return sampler not in _WITHOUT_SCHEDULE or (key == "every" and sets == "boosted")
    return key not in _SECTIONS or key == sampler


def unread(given: Mapping[str, Any], sampler: str, sets: str = "uniform") -> list[str]:
    """A sentence for each key given in `hard_tasks` that the sampler does not read.

    None for a config that holds every key: the program wrote it, and nobody chose them.
    """
    if len(given) == len(_FIELDS):
        return []
    return [
        f"hard_tasks.{key}: hard_tasks.sampler = {sampler} does not read it; leave it out"
        + (f", or choose hard_tasks.sampler = {key}" if key in _SECTIONS else "")
        for key in given
        if not is_read(key, sampler, sets)
    ]


def drop_other_samplers(tree: dict[str, Any], overridden: Sequence[str]) -> None:
    """Where overrides name the sampler, takes out what the file gave to another one; not what they give."""
    given = tree.get("hard_tasks")
    if "sampler" not in overridden or not isinstance(given, dict) or not isinstance(given["sampler"], str):
        return
    meta = tree.get("meta")
    sets = meta.get("sets", "uniform") if isinstance(meta, dict) else "uniform"
    for key in set(given) - set(overridden):
        if not is_read(key, given["sampler"], sets):
            del given[key]


def moved(key: str) -> str | None:
    """Where an option is now that was a key of `hard_tasks` itself; None for any other word."""
    name = {"neighbours": "nearest", "all_pairs": "errors"}.get(key, key)
    found = [section for section, default in _SECTIONS.items() if hasattr(default, name)]
    return " or ".join(f"hard_tasks.{section}.{name}" for section in found) or None
