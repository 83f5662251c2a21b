"""The config of a run, and which of its keys do not fit together though each is allowed."""

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from mtl.config.hard_tasks import unread
from mtl.config.schema import Sections
from mtl.config.values import OWN, STRICT, is_file

_OWN_IMAGE_KEYS = ("classes", "min_images", "max_images", "group_by", "duplicates", "unreadable", "levels")


def misfits(config: Sections) -> list[str]:
    """What does not fit, in sentences: which keys, what is wrong, what is allowed."""
    wrong = config.compare.wrong() + _of_backbone(config) + _of_meta_training(config)
    wrong += _of_weighting(config) + _of_several_sets(config) + _of_own_images(config)
    movements = config.data.augment.movements
    if config.evaluate.moves and not any(movements.values()):
        wrong.append(
            f"evaluate.moves: {config.evaluate.moves:g} of the most that data.augment moves images by, which "
            f"is nothing; give it {', '.join(movements)}, or leave evaluate.moves at 0"
        )
    if config.hard_tasks.warm_up + config.hard_tasks.fade > 1:
        wrong.append("hard_tasks.warm_up and hard_tasks.fade: together they may not exceed 1")
    return wrong


def unread_keys(config: Sections, tree: Mapping[str, Any]) -> list[str]:
    """A sentence for each key of `hard_tasks` in `tree`, which `config` was read from, that nothing reads.

    None with a section `compare`: its arms, which may choose any sampler, share these options.
    """
    given = tree.get("hard_tasks")
    if not isinstance(given, Mapping) or "compare" in tree:
        return []
    return unread(given, config.hard_tasks.sampler, config.meta.sets)


def _of_backbone(config: Sections) -> list[str]:
    backbone, levels = config.backbone, config.meta.head.levels
    if backbone.name in OWN:
        if backbone.weights is None or is_file(backbone.weights):
            return []
        return [
            f"backbone.weights: {backbone.weights}, but {backbone.name} has no published weights and takes "
            "only a file (.pth, .pt or .safetensors)"
        ]
    given = {
        "backbone.channels": backbone.channels,
        "backbone.pool": backbone.pool,
        "backbone.networks": backbone.networks if backbone.networks > 1 else None,
    }
    wrong = [
        f"{key}: is for {' and '.join(OWN)}; {backbone.name} is used as its library has it"
        for key, value in given.items()
        if value is not None
    ]
    if levels > 1:
        wrong.append(
            f"meta.head.levels: {levels}, but {backbone.name} gives only the output of its "
            f"last block; {' and '.join(OWN)} give more"
        )
    return wrong


def _of_meta_training(config: Sections) -> list[str]:
    wrong: list[str] = []
    head, meta = config.meta.head, config.meta
    if head.name == "gradient_descent" and head.init == "learned" and meta.algorithm == "mtl":
        wrong += [
            f"evaluate.settings: [{n}, {k}] has {n} ways, but a learned start of the head "
            f"(meta.head.init) serves only meta.way = {meta.way}; use init prototype or zero"
            for n, k in config.evaluate.settings
            if n != meta.way
        ]
    if meta.algorithm != "mtl":
        wrong += [
            f"evaluate.settings: [{n}, {k}] has {n} ways, but the classifier of meta.algorithm = "
            f"{meta.algorithm} has meta.way = {meta.way} outputs"
            for n, k in config.evaluate.settings
            if n != meta.way
        ]
    if meta.head_lr is not None and (meta.algorithm != "mtl" or meta.train == "head"):
        wrong.append(
            f"meta.head_lr: {meta.head_lr:g} is for learners of a head and more (meta.algorithm = mtl, "
            "meta.train = ss, ss_affine or all); others have meta.lr alone"
        )
    hard = config.hard_tasks
    voters = {"meta.learners": meta.learners - 1, "hard_tasks.snapshots": hard.snapshots}
    if meta.algorithm != "mtl" or meta.batch_norm == "episode":
        wrong += [
            f"{key}: learners that vote need meta.algorithm = mtl and meta.batch_norm = frozen or update, "
            f"not {meta.algorithm} and {meta.batch_norm}"
            for key, several in voters.items()
            if several
        ]
    elif all(voters.values()):
        wrong.append(
            f"hard_tasks.snapshots: {hard.snapshots}, but with meta.learners = {meta.learners} those that "
            "vote are whole learners; leave one of the two out"
        )
    lacking = (
        "needs features that are the same in every episode, which meta.batch_norm = episode and the "
        "algorithms maml and meta_sgd do not have"
    )
    if meta.batch_norm == "episode" or meta.algorithm in {"maml", "meta_sgd"}:
        if hard.needs_features:
            wrong.append(f"hard_tasks.sampler: {hard.sampler} {lacking}; boosted_pool does not need them")
        if config.evaluate.transductive:
            wrong.append(f"evaluate.transductive: {lacking}; leave it out")
    if config.runtime.ordered_sum and (meta.batch_norm == "update" or meta.examples.by != "all"):
        wrong.append(
            "runtime.ordered_sum: solves one task after another, and meta.batch_norm = update and "
            "meta.examples are of a whole meta-batch; leave it out, or take batch_norm = frozen and "
            "examples.by = all"
        )
    allowed = {"all", "focal", "hardest"}
    if meta.examples.by not in allowed or meta.examples.scope != "batch" or meta.examples.start:
        wrong.append(
            f"meta.examples: for queries of episodes by may be {', '.join(sorted(allowed))}, with "
            "scope = batch and start = 0"
        )
    return wrong


def _of_weighting(config: Sections) -> list[str]:
    """Two corrections at one level do the same thing twice: small classes would come to dominate."""
    wrong = []
    if config.pretrain.rotation.share and config.data.rotations:
        wrong.append(
            "pretrain.rotation.share: turns images to predict by how much, but with data.rotations = true a "
            "turned image is of another class; leave one of the two out"
        )
    balance, examples = config.pretrain.balance, config.pretrain.examples
    remembers = examples.by == "self_paced" or (examples.by == "hardest" and examples.scope == "memory")
    if remembers and config.backbone.networks > 1:
        wrong.append(
            f"backbone.networks: {config.backbone.networks}, but pretrain.examples.by = {examples.by} "
            "remembers the losses of one network; take 1, or examples without a memory (all, focal, "
            "influence, or hardest with scope = batch or class)"
        )
    if examples.by == "influence" and balance.by in {"sampling", "logits"}:
        wrong.append(
            f"pretrain.balance.by: {balance.by}, but pretrain.examples.by = influence corrects for the "
            "size of classes as well; beside it none and weights are allowed"
        )
    if balance.by == "logits" and config.pretrain.label_smoothing:
        wrong.append(
            "pretrain.label_smoothing: does not go with adjusted logits (pretrain.balance.by = logits); take "
            "one of the two"
        )
    wrong += [
        f"{section}.examples.cap: leaves out {given.cap:g} at the top, which is all of the hardest "
        f"part = {given.part:g}; it must be smaller"
        for section, given in (("pretrain", examples), ("meta", config.meta.examples))
        if given.by == "hardest" and given.part <= given.cap
    ]
    return wrong


def _of_several_sets(config: Sections) -> list[str]:
    wrong, data, sets = [], config.data, config.pretrain.sets
    labels = [scored.label for scored in config.evaluate.sets]
    if twice := [label for label in labels if labels.count(label) > 1]:
        wrong.append(f"evaluate.sets: names an image set or folder twice, {twice[0]}")
    if data.name != "several":
        given = {"data.sets": data.sets, "pretrain.sets.samples": sets.samples}
        return wrong + [
            f"{key}: is for data.name = several, not {data.name}" for key, v in given.items() if v
        ]
    if len(set(data.sets)) < max(len(data.sets), 2):
        wrong.append("data.sets: needs two image sets or more, all different, as in [glyphs, omniglot]")
    if config.pretrain.balance.by == "sampling" and config.pretrain.balance.start:
        wrong.append(
            "pretrain.balance.start: small sets use their images several times an epoch, so that sampling "
            "cannot start later with several sets; leave it at 0, or take weights or logits"
        )
    if sets.samples is not None and sets.schedule != "round_robin":
        wrong.append(
            f"pretrain.sets.schedule: {sets.schedule}, but with pretrain.sets.samples every batch is of all "
            "sets; leave one of the two out"
        )
    if sets.samples is not None and len(sets.samples) != len(data.sets):
        wrong.append(f"pretrain.sets.samples: {len(sets.samples)} numbers for {len(data.sets)} sets")
    if sets.samples is not None and sum(sets.samples) != config.pretrain.batch_size:
        wrong.append(
            f"pretrain.sets.samples: sum to {sum(sets.samples)} images, but pretrain.batch_size is "
            f"{config.pretrain.batch_size}"
        )
    return wrong


def _of_own_images(config: Sections) -> list[str]:
    data, wrong = config.data, list[str]()
    if "image_folder" not in {data.name, *data.sets, *(scored.name for scored in config.evaluate.sets)}:
        usual = type(data)()
        wrong += [
            f"data.{key}: is for data.name = image_folder, not {data.name}"
            for key in _OWN_IMAGE_KEYS
            if getattr(data, key) != getattr(usual, key)
        ]
    if data.max_images is not None and data.max_images < data.min_images:
        wrong.append(
            f"data.max_images: {data.max_images} is less than data.min_images = {data.min_images}; no class "
            "would be left"
        )
    return wrong


@dataclass(frozen=True, config=STRICT)
class Config(Sections):
    """The config of one run: sections that fit each other."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "Config":
        if wrong := misfits(self):
            raise ValueError("\n".join(wrong))
        return self
