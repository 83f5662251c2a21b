"""The section `compare`: which ways of training are compared."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass

from mtl.config.values import NUMBER, STRICT, Tasks, UpToAMillion, folder_name

Overrides = tuple[str, ...]  # each as on the command line: "hard_tasks.share=0.3"


PRETRAINED, LONGER = "pretrained", "pretrained longer"  # what the arms are shown beside


def slug(name: str) -> str:
    """The name of an arm as a folder."""
    return name.replace(" ", "-")


def _arm_name(name: str) -> str:
    if "." in name:
        raise ValueError("must be a name that a folder can have, without .")
    return folder_name(name)


ArmName = Annotated[str, AfterValidator(_arm_name)]


@dataclass(frozen=True, config=STRICT)
class Arm:
    """One way of training: what it changes in the config."""

    name: ArmName
    change: Overrides = ()
    trials: tuple[Overrides, ...] = ()  # further changes to choose from: the best on validation tasks, over
    #   seeds that are not compared, is used for all seeds


def _arm(name: str, change: str, *trials: str) -> Arm:
    """Keys of `hard_tasks`, or of `meta` where they say so, as in `sampler=neighbours share=1.0`."""

    def keys(text: str) -> Overrides:
        return tuple(one if one.startswith("meta.") else f"hard_tasks.{one}" for one in text.split())

    return Arm(name, keys(change), tuple(keys(trial) for trial in trials))


_RATES = ("meta.lr*=0.5", "meta.lr*=1", "meta.lr*=2")
_SHARES = ("share=0.3", "share=0.6", "share=1.0")
_NEAREST = (30, "null", 120)  # null is 3 N: 60 at 20 ways
_PARTS = ("self_paced.part=0.3", "self_paced.part=0.5", "self_paced.part=0.7")
#: The rule of the authors' code of 2024; its hard meta-batches come on top (budget=extra), but as part of a
#: comparison they count, so that all arms make the same number of updates: the same sequence of meta-batches.
_RELEASED = (
    "sampler=meta_batch meta_batch.collect=10 meta_batch.hard_batches=5 meta_batch.duplicates=adjacent "
    "meta_batch.few=skip meta_batch.ties=first meta_batch.overlap=true meta_batch.budget=inside"
)

#: Every sampler and objective, each with three trials of its settings.
ARMS = (
    _arm("uniform", "sampler=uniform", *_RATES),
    _arm("random pool", "sampler=random_pool", *(f"random_pool.hard={k}" for k in (4, 10, 20))),
    _arm("easy", "sampler=easy", *(f"easy.hard={k}" for k in (4, 10, 20))),
    _arm("hard-task meta-batch", "sampler=meta_batch", *(f"meta_batch.hard={k}" for k in (4, 10, 20))),
    _arm("as released", f"{_RELEASED} meta_batch.accuracies=kept", *_RATES),
    _arm("as released with list emptied", f"{_RELEASED} meta_batch.accuracies=emptied", *_RATES),
    _arm("boosted", "sampler=boosted share=1.0", *(f"boosted.nearest={m}" for m in _NEAREST)),
    _arm("boosted tasks", "sampler=boosted_pool boosted_pool.unit=task", *_SHARES),
    _arm("boosted classes", "sampler=boosted_pool boosted_pool.unit=class", *_SHARES),
    _arm(
        "boosted pairs",
        "sampler=boosted_pool boosted_pool.unit=pair boosted_pool.cap=null boosted_pool.rate=1 share=1.0",
        *(f"boosted_pool.rate={rate} share={share}" for rate, share in ((1, 1.0), (5, 0.5), (5, 1.0))),
    ),
    _arm(
        "all pairs",
        "sampler=boosted boosted.draw=weight boosted.errors=counted boosted.forget=0.9 boosted.floor=0.1",
        *(f"boosted.rate={rate} share=1.0" for rate in (0.2, 0.5, 2)),
    ),
    _arm(
        "class pairs",
        "sampler=class_pair",
        *(f"class_pair.rate={rate} share={share}" for rate, share in ((5, 0.5), (5, 1.0), (20, 0.5))),
    ),
    _arm("posterior", "sampler=posterior", *_SHARES),
    _arm("learning progress", "sampler=learning_progress", *_SHARES),
    _arm("fisher", "sampler=fisher", *_SHARES),
    _arm(
        "neighbours", "sampler=neighbours share=1.0", *(f"neighbours.nearest={m}" for m in (30, "null", 120))
    ),
    _arm(
        "within group", "sampler=within_group", "share=0.3", "share=0.6", "share=0.6 within_group.within=hard"
    ),
    _arm("self-paced", "sampler=self_paced share=1.0 fade=0", *_PARTS),
    _arm("easy to hard", "sampler=self_paced share=1.0 fade=0 self_paced.pace=move", *_PARTS),
    _arm("uniform difficulty", "sampler=uniform_difficulty", *_RATES),
    _arm("ohem", "sampler=uniform objective=ohem", "tail=0.25", "tail=0.5", "tail=0.75"),
    _arm("cvar", "sampler=uniform objective=cvar", "tail=0.25", "tail=0.5", "tail=0.75"),
)


def _shipped(arm: Any) -> Any:
    """One of `ARMS` for its name; what is no name is left to be read as an arm."""
    if not isinstance(arm, str):
        return arm
    found = {one.name: one for one in ARMS}
    if arm not in found:
        raise ValueError(f"must be a shipped arm ({', '.join(found)}), or one with a name and a change")
    return found[arm]


@dataclass(frozen=True, config=STRICT)
class Compare:
    """Arms × seeds, from one pretrained checkpoint a seed; or each with its own pretraining."""

    stage: Literal["meta_train", "pretrain"] = "meta_train"  # in what the arms differ
    arms: tuple[Annotated[Arm, BeforeValidator(_shipped)], ...] = Field(default=ARMS, min_length=1)  # a
    #   shipped one by its name
    reference: str = "uniform"  # the arm that the others are compared with
    seeds: Annotated[int, Field(ge=1, le=10_000), NUMBER] = 5  # seed, seed + 1, ...
    trial_seeds: Annotated[int, Field(ge=0, le=10_000), NUMBER] = 2  # that trials are made with: those after
    #   the last one compared; 0: none are made, and arms are as they are without
    trial_tasks: Tasks = 2000  # of the validation classes, that trials are chosen on
    judged_tasks: UpToAMillion = 2000  # novel tasks that the pretrained backbone's confusions make hard
    longer: bool = True  # beside the arms: the time of meta-training spent on pretraining instead
    keep_ledgers: bool = False  # the ledgers of the arms, some of them hundreds of megabytes

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)

    def wrong(self) -> list[str]:
        """What does not fit together, in sentences."""
        names = [arm.name for arm in self.arms]
        wrong: list[str] = []
        if self.reference not in names:
            wrong.append(f"compare.reference: {self.reference!r} is none of the arms ({', '.join(names)})")
        wrong += [f"compare.arms: two are called {n!r}" for n in sorted(set(names)) if names.count(n) > 1]
        folders = {slug(name): name for name in (PRETRAINED, LONGER)}
        for name in dict.fromkeys(names):
            if slug(name) in folders:
                wrong.append(f"compare.arms: {name!r} would share a folder with {folders[slug(name)]!r}")
            folders[slug(name)] = name
        if self.stage == "pretrain" and (self.judged_tasks or self.longer):
            wrong.append(
                "compare.stage: pretrain leaves no backbone that belongs to no arm; it goes with "
                "compare.judged_tasks: 0 and compare.longer: false"
            )
        if self.trial_seeds and len({len(arm.trials) for arm in self.arms}) > 1:
            trials = ", ".join(f"{arm.name} {len(arm.trials)}" for arm in self.arms)
            wrong.append(f"compare.arms: every arm must have the same number of trials, not {trials}")
        return wrong
