"""The section `compare`: which ways of training are held against each other."""

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from mtl.config.values import STRICT, Count, Positive

Overrides = tuple[str, ...]  # each as on the command line: "hard_tasks.share=0.3"


@dataclass(frozen=True, config=STRICT)
class Arm:
    """One way of training: what it changes in the config."""

    name: str
    change: Overrides = ()
    trials: tuple[Overrides, ...] = ()  # further changes to choose from: the best on validation tasks with
    #   the first seed is taken for all seeds

    @field_validator("name")
    @classmethod
    def _can_be_a_folder(cls, name: str) -> str:
        if not name or name != name.strip() or any(c in name for c in '/\\:*?"<>|.'):
            raise ValueError('must do for a folder: no / \\ : * ? " < > | . in it, not empty')
        return name


_ARMS = (
    Arm("uniform", ("hard_tasks.sampler=uniform",)),
    Arm("boosted classes", ("hard_tasks.sampler=boosted", "hard_tasks.unit=class")),
    Arm("boosted pairs", ("hard_tasks.sampler=boosted", "hard_tasks.unit=pair")),
    Arm("hard-task meta-batch", ("hard_tasks.sampler=meta_batch",)),
    Arm("random pool", ("hard_tasks.sampler=random_pool",)),
)


@dataclass(frozen=True, config=STRICT)
class Compare:
    """Arms × seeds, from one pretrained checkpoint a seed."""

    arms: tuple[Arm, ...] = Field(default=_ARMS, min_length=1)
    reference: str = "uniform"  # the arm that the others are held against
    seeds: Positive = 5  # seed, seed + 1, ...
    judged_tasks: Count = 2000  # novel tasks that the pretrained backbone's confusions make hard
    longer: bool = True  # beside the arms: the time of meta-training spent on pretraining instead
    keep_ledgers: bool = False  # the ledgers of the arms, some of them hundreds of megabytes

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)

    def wrong(self) -> list[str]:
        """What does not fit together, a sentence each."""
        names, found = [arm.name for arm in self.arms], []
        if self.reference not in names:
            found.append(f"compare.reference: {self.reference!r} is none of the arms ({', '.join(names)})")
        found += [f"compare.arms: two are called {n!r}" for n in sorted(set(names)) if names.count(n) > 1]
        if len({len(arm.trials) for arm in self.arms}) > 1:
            told = ", ".join(f"{arm.name} {len(arm.trials)}" for arm in self.arms)
            found.append(f"compare.arms: every arm gets as many trials as any other, not {told}")
        return found
