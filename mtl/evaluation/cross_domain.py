"""The image sets that an evaluation scores: the run's own, each of several, or others (across domains)."""

from dataclasses import replace

from mtl.config import Config, SetName
from mtl.data import ImageSet
from mtl.data.sources.multi_dataset import load_matching
from mtl.errors import UserError
from mtl.training.run_data import RunData, require_scored


def scored_sets(config: Config, run_data: RunData) -> list[tuple[str | None, RunData]]:
    """Each set by its name (None for the run's own) and the run_data whose scored split is its split alone.

    Images of other sets are brought to the size, channels and normalisation of the training images.

    Raises:
        UserError: a set cannot be had, is too small, or holds a class that the run was trained on.
    """
    split = config.evaluate.split
    if config.evaluate.sets:
        return [(name, _other(config, run_data, name)) for name in config.evaluate.sets]
    parts = run_data.split(split).by_domain()
    return [(name, _with(run_data, split, part)) for name, part in parts.items()] or [(None, run_data)]


def _other(config: Config, run_data: RunData, name: SetName) -> RunData:
    splits, data, split = run_data.splits, config.data, config.evaluate.split
    train = splits.train
    like = replace(data, image_size=train.size, grayscale=train.channels == 1)
    found = load_matching(like, name, data.split_seed)
    scored = found.test if split == "test" else found.val
    rest = (train, splits.val if split == "test" else splits.test)
    twice = sorted(set(scored.class_names) & {name for part in rest for name in _bare_names(part)})
    if twice:
        raise UserError(
            f"evaluate.sets: {len(twice)} {split} classes of {name}, {twice[0]} for one, are in other splits "
            "of the run's own images; its figures would not be those of novel classes"
        )
    other = _with(run_data, split, scored)
    try:
        require_scored(config, other.splits)
    except UserError as error:
        raise UserError(f"evaluate.sets: {name}: {error}") from None
    return other


def _bare_names(images: ImageSet) -> set[str]:
    """Class names as their own image set has them."""
    if images.domains is None:
        return set(images.class_names)
    return {n.removeprefix(f"{d}/") for n, d in zip(images.class_names, images.domains, strict=True)}


def _with(run_data: RunData, split: str, images: ImageSet) -> RunData:
    """The run_data with other images in the scored split."""
    splits = run_data.splits
    changed = replace(splits, test=images) if split == "test" else replace(splits, val=images)
    return replace(run_data, splits=changed)
