"""How each arm differs from a reference arm, with intervals over seeds and over tasks.

The difference of two arms with seed s at task t is δ + a_s + b_t + e_st: how the ways of training differ,
what the seed adds, what the task adds, and the rest. Every arm and seed answers the same tasks, so b_t does
not show in the deviation over seeds; drawing the tasks again shows it. The variance of the mean is the sum of
two estimates:

    s²/S    s: sample deviation of the differences of S seeds; holds a_s and e_st
    v       variance of the mean over seeds where tasks are drawn with replacement; holds b_t and e_st

The rest e_st is counted twice, so intervals are a little wide. Each part keeps its own quantile, Student's t
with S - 1 degrees of freedom for the seeds and the normal one for the thousands of tasks (Banerjee, Sankhyā
1960):

    half² = t² s²/S + z² v

which covers no less than its level, whatever the parts are. Welch and Satterthwaite's common degrees of
freedom are narrower, but do not hold the level far out with few seeds: where s comes out small by chance,
they take t for z.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, fmean, median, stdev, variance

import torch
from torch import Tensor

from mtl.compare.measures import MEASURES, measure, resamples
from mtl.errors import UserError
from mtl.evaluation.task_answers import Answers, Cell
from mtl.runtime.seeds import generator

LEVEL = 0.95
_Key = tuple[str, int]  # arm and seed
_Values = dict[_Key, dict[str, Tensor]]  # then by measure


@dataclass(frozen=True)
class Absolute:
    """A measure of one arm, in [0, 1]."""

    mean: float  # over seeds
    deviation: float  # sample deviation over seeds (n - 1); nan for one seed
    seeds: int


@dataclass(frozen=True)
class Difference:
    """A measure of one arm less that of the reference, in [-1, 1]; halves are half widths of intervals."""

    mean: float  # over the seeds that both arms have
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    half: float  # at 95 %; nan for one seed
    half_corrected: float  # at 1 - 0.05/m for m arms compared (Bonferroni); nan for one seed

    @property
    def proven(self) -> bool:
        """True if the corrected interval leaves out 0; never with one seed."""
        return abs(self.mean) > self.half_corrected


@dataclass(frozen=True)
class ArmResult:
    """One arm at one setting, everything by the names of `MEASURES`."""

    arm: str
    seeds: tuple[int, ...]
    absolute: dict[str, Absolute]
    differences: dict[str, Difference]  # empty for the reference, and without a seed that both have


@dataclass(frozen=True)
class Cost:
    """What an arm takes: medians over its seeds."""

    seconds_per_step: float | None  # None where no step of any seed was timed
    seconds: float
    images: float


@dataclass(frozen=True)
class Study:
    """All arms at all settings, in the order of the cells, the reference first."""

    reference: str
    seeds: tuple[int, ...]  # of all arms together
    compared: int  # m: arms other than the reference, whether or not all of them could be compared
    resamples: int
    tasks: dict[str, tuple[int, int]]  # by setting: T, and J of the seed that has most
    settings: dict[str, list[ArmResult]]
    costs: dict[str, Cost]
    missing: Mapping[str, str] = field(default_factory=dict)  # jobs that were not done, and why


def compare(
    cells: Sequence[Cell], reference: str, seed: int, count: int = 200, beside: Collection[str] = ()
) -> Study:
    """The study of these cells, each arm against `reference`.

    `seed` draws the `count` resamples of the tasks. An arm is compared over the seeds that it shares with the
    reference; its absolute values are over all of its seeds. What `beside` names is shown with the arms, but
    is no way of training in question, and does not widen the corrected intervals.

    Raises:
        UserError: there is no such reference, two cells are of one arm and seed, or the arms of a setting did
            not answer the same tasks.
    """
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    if reference not in arms:
        raise UserError(f"no arm is called {reference}; there are {', '.join(arms) or 'none'}")
    arms.sort(key=lambda arm: arm != reference)
    seen = [(cell.arm, cell.seed) for cell in cells]
    twice = next((key for key in seen if seen.count(key) > 1), None)
    if twice is not None:
        raise UserError(f"{twice[0]}: seed {twice[1]} is given twice")
    compared = max(1, len(set(arms) - {reference, *beside}))
    settings, tasks = {}, {}
    for name in dict.fromkeys(name for cell in cells for name in cell.answers):
        answers = {(c.arm, c.seed): c.answers[name] for c in cells if name in c.answers}
        _require_same_tasks(name, answers)
        first = next(iter(answers.values()))
        tasks[name] = (len(first.classes), max(len(a.judged) for a in answers.values()))
        values = _values(answers, seed, name, count)
        present = [arm for arm in arms if any(arm == other for other, _ in answers)]
        settings[name] = [_arm_result(arm, reference, values, compared) for arm in present]
    costs = {arm: _cost([c for c in cells if c.arm == arm]) for arm in arms}
    every = tuple(sorted({cell.seed for cell in cells}))
    return Study(reference, every, compared, count, tasks, settings, costs)


def difference(seeds: Sequence[int], arm: Tensor, reference: Tensor, compared: int) -> Difference:
    """The difference of two arms in one measure.

    Args:
        seeds: S of them.
        arm, reference: (S, 1 + B) float64: the measure of the tasks as they are, then of B ≥ 2 resamples, the
            same for both.
        compared: m, for the correction.
    """
    differences = arm - reference
    per_seed = differences[:, 0].tolist()
    task_variance = float(differences[:, 1:].mean(0).var())
    half, corrected = (half_width(per_seed, task_variance, 1 - (1 - LEVEL) / m) for m in (1, compared))
    return Difference(fmean(per_seed), tuple(seeds), tuple(per_seed), half, corrected)


def half_width(per_seed: Sequence[float], task_variance: float, level: float) -> float:
    """Half the interval of the mean of `per_seed` at `level`, over seeds and tasks; nan for one seed."""
    n = len(per_seed)
    if n < 2 or any(map(math.isnan, per_seed)):
        return math.nan
    from scipy.stats import t

    student, normal = float(t.ppf((1 + level) / 2, n - 1)), NormalDist().inv_cdf((1 + level) / 2)
    return math.sqrt(student**2 * variance(per_seed) / n + normal**2 * task_variance)


def _values(answers: Mapping[_Key, Answers], seed: int, setting: str, count: int) -> _Values:
    """Every measure of each arm and seed, (1 + count,): of the tasks as they are, then of their resamples.

    All arms and seeds share the resamples. Judged tasks are another set for each seed, or the same for all:
    sharing the drawn places is right for both.
    """

    def weights(what: str, tasks: int) -> Tensor:
        drawn = resamples(count, tasks, generator(seed, "compare", setting, what, tasks))
        return torch.cat([torch.ones(1, tasks, dtype=torch.float64), drawn])

    uniform = weights("tasks", len(next(iter(answers.values())).classes))
    judged = {j: weights("judged", j) for j in {len(a.judged) for a in answers.values()}}
    return {key: measure(a, uniform, judged[len(a.judged)]) for key, a in answers.items()}


def _arm_result(arm: str, reference: str, values: _Values, compared: int) -> ArmResult:
    seeds = sorted(s for a, s in values if a == arm)
    shared = [s for s in seeds if arm != reference and (reference, s) in values]
    absolute, differences = {}, {}
    for name in MEASURES:
        points = [float(values[arm, s][name][0]) for s in seeds]
        known = len(points) > 1 and not math.isnan(sum(points))
        absolute[name] = Absolute(fmean(points), stdev(points) if known else math.nan, len(points))
        if shared:
            one, other = (torch.stack([values[a, s][name] for s in shared]) for a in (arm, reference))
            differences[name] = difference(shared, one, other, compared)
    return ArmResult(arm, tuple(seeds), absolute, differences)


def _cost(cells: Sequence[Cell]) -> Cost:
    paces = [c.seconds_per_step for c in cells if c.seconds_per_step is not None]
    pace = median(paces) if paces else None
    return Cost(pace, median(c.seconds for c in cells), median(c.images for c in cells))


def _require_same_tasks(setting: str, answers: Mapping[_Key, Answers]) -> None:
    """T tasks are compared with those of the first cell, J tasks with those of the first cell of the seed."""
    first, first_of_seed = next(iter(answers)), dict[int, _Key]()
    for key, one in answers.items():
        same_seed = first_of_seed.setdefault(key[1], key)
        other = None
        if one.queries != answers[first].queries or not torch.equal(one.classes, answers[first].classes):
            other = first
        elif len(one.judged) != len(answers[same_seed].judged):
            other = same_seed
        if other is not None:
            raise UserError(
                f"{setting}: {key[0]} with seed {key[1]} answered other tasks than {other[0]} with seed "
                f"{other[1]}; all arms of a comparison have to answer the same"
            )
