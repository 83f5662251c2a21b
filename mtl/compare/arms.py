"""The arms of a comparison as configs of runs of their own."""

from collections.abc import Sequence
from dataclasses import replace

from mtl.config import Augment, Config, with_overrides
from mtl.config.compare import Arm
from mtl.episodes.samplers import meta_steps
from mtl.errors import UserError

#: Sections that an arm may change, by the stage that is compared: what comes before is shared by all.
_FREE = {"meta_train": ("meta", "hard_tasks"), "pretrain": ("pretrain",)}


def arm_config(config: Config, arm: Arm, seed: int, trial: Sequence[str] = ()) -> Config:
    """The config that an arm trains with, `trial` laid over it.

    Raises:
        UserError: an override is wrong, or changes what all arms share.
    """
    overrides, stage = (*arm.change, *trial), config.compare.stage
    for text in overrides:
        section = text.partition("=")[0].partition(".")[0].strip()
        if section not in _FREE[stage]:
            raise UserError(
                f"compare.arms: {arm.name}: {text}: an arm may change keys of {' and '.join(_FREE[stage])} "
                f"alone (compare.stage = {stage}); all arms share the rest"
            )
    return replace(with_overrides(config, overrides, f"compare.arms: {arm.name}"), seed=seed)


def episode_images(config: Config) -> int:
    """Images in all episodes of a meta-training, each as often as it is in one."""
    meta = config.meta
    return meta_steps(config) * meta.tasks * meta.way * (meta.shot + meta.queries)


def images_passed(config: Config, images: int) -> int:
    """Images that pass the backbone in meta-training, out of `images` that there are.

    Each once where the backbone is fixed and nothing is changed in them: their features are kept.
    """
    meta = config.meta
    unchanged = not meta.augment or config.data.augment == Augment()
    kept = meta.train == "head" and meta.batch_norm == "frozen" and unchanged
    return images if kept else episode_images(config)


def require_alike(config: Config) -> None:
    """Every arm makes as many updates on as many images as the reference, in each of its trials.

    Raises:
        UserError: an arm does not, or one of its overrides is wrong; before anything is trained.
    """

    def budget(one: Config) -> tuple[int, int]:
        if config.compare.stage == "pretrain":
            return one.pretrain.epochs, one.pretrain.batch_size
        return meta_steps(one), episode_images(one)

    pretrains = config.compare.stage == "pretrain"
    steps, of = ("epochs", "in batches of") if pretrains else ("updates", "on")
    reference = config.compare.arm(config.compare.reference)
    expected = budget(arm_config(config, reference, config.seed))
    for arm in config.compare.arms:
        for trial in ((), *arm.trials):
            found = budget(arm_config(config, arm, config.seed, trial))
            if found != expected:
                what = f"{arm.name} ({', '.join(trial)})" if trial else arm.name
                raise UserError(
                    f"compare.arms: {what} makes {found[0]} {steps} {of} {found[1]} images, {reference.name} "
                    f"{expected[0]} {of} {expected[1]}; a comparison gives all arms the same"
                )
