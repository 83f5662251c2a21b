"""The runs of a comparison: an arm trained with one seed, and its results on the novel classes (a cell)."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from mtl.compare.measures import judged_episodes, pair_confusions
from mtl.config import Augment, Config, with_overrides
from mtl.config.comparison import Arm
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, Outcome
from mtl.errors import UserError
from mtl.evaluation.base_classes import base_answers
from mtl.evaluation.baselines import (
    from_learner,
    from_table,
    logistic_on_unit_features,
    table_of,
    votes,
)
from mtl.evaluation.task_answers import Answers, Cell
from mtl.models.heads import power_transform
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device
from mtl.runtime.outputs import replacing
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.samplers import meta_steps
from mtl.training.meta_train import meta_train
from mtl.training.meta_train_state import STAGE
from mtl.training.pretrain import STAGE as PRETRAIN
from mtl.training.pretrain import cosine_prototypes
from mtl.training.restore import (
    learner_from_pretrained,
    meta_trained_learner,
    pretrained_backbone,
    pretrained_network,
    read_pretrained,
)
from mtl.training.run_data import RunData
from mtl.training.solve import with_table

#: What an arm may change, by the stage that is compared: what comes before is shared by all.
_FREE = {"meta_train": ("meta", "hard_tasks"), "pretrain": ("pretrain", "data.augment")}
VALIDATION_TASKS = 1000  # that the head of a pretrained backbone is chosen on

Solve = Callable[[EpisodeBatch], Outcome]


def arm_config(config: Config, arm: Arm, seed: int, trial: Sequence[str] = ()) -> Config:
    """The config that an arm trains with, the overrides of `trial` applied last.

    Raises:
        UserError: an override is wrong, or changes what all arms share.
    """
    overrides, stage = (*arm.change, *trial), config.compare.stage
    for text in overrides:
        key = f"{text.partition('=')[0].strip()}."
        if not any(key.startswith(f"{free}.") for free in _FREE[stage]):
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
    """Images that pass the backbone in meta-training, of a set of `images`.

    Each once where the backbone is frozen and images are not augmented: their features are cached.
    """
    meta = config.meta
    plain = not meta.augment or config.data.augment == Augment()
    cached = meta.train == "head" and meta.batch_norm == "frozen" and plain
    return images if cached else episode_images(config)


def require_same_budget(config: Config) -> None:
    """Every arm makes as many updates on as many images as the reference, in each of its trials.

    Raises:
        UserError: an arm does not, or one of its overrides is wrong; before anything is trained.
    """
    pretrains = config.compare.stage == "pretrain"
    steps, of = ("epochs", "in batches of") if pretrains else ("updates", "on")

    def budget(arm: Arm, trial: Sequence[str] = ()) -> tuple[int, int]:
        one = arm_config(config, arm, config.seed, trial)
        if pretrains:
            return one.pretrain.epochs, one.pretrain.batch_size
        return meta_steps(one), episode_images(one)

    reference = config.compare.arm(config.compare.reference)
    expected = budget(reference)
    for arm in config.compare.arms:
        for trial in ((), *arm.trials):
            count, images = budget(arm, trial)
            if (count, images) != expected:
                what = f"{arm.name} ({', '.join(trial)})" if trial else arm.name
                raise UserError(
                    f"compare.arms: {what} makes {count} {steps} {of} {images} images, {reference.name} "
                    f"{expected[0]} {of} {expected[1]}; a comparison gives all arms the same"
                )


def train_arm(config: Config, pretrained: Path, run_data: RunData, tables: dict[str, Tensor]) -> float:
    """Meta-trains in the run folder of `config` from the checkpoint `pretrained`; goes on where it stopped.

    `tables` of features are as `meta_train` has them, of this checkpoint. Returns the best accuracy on the
    validation tasks.
    """
    folder = RunFolder.of(config)
    with folder.held("compare"):
        if not folder.pretrain.exists():
            with replacing(folder.pretrain) as temporary:
                shutil.copyfile(pretrained, temporary)
        meta_train(config, resume=True, run_data=run_data, tables=tables)
    return float(checkpoints.read(folder.meta)["score"])


def validation_accuracy(
    config: Config, seed: int, run_data: RunData, device: Device, tables: dict[str, Tensor]
) -> float:
    """Of the learner that meta-training chose, on `compare.trial_tasks` tasks of the validation classes.

    The tasks follow from `seed`, are as large as those of training, and are not those that the checkpoint was
    chosen on. `tables` are as of `train_arm`.
    """
    folder, meta = RunFolder.of(config), config.meta
    pretrained = read_pretrained(folder, config)
    trained = checkpoints.read(folder.meta)
    learner = meta_trained_learner(trained, pretrained, config, run_data.splits.train, device)
    shape, tasks = EpisodeShape(meta.way, meta.shot, meta.queries), config.compare.trial_tasks
    within = meta.validate_within_group
    episodes = run_data.fixed_episodes("val", shape, tasks, seed, "trials", within)
    pictures = run_data.split_images("val", device)
    if learner.backbone_frozen:
        pictures = with_table(learner, pictures, tables, f"val {meta.head.levels}")
    return float(from_learner("", learner, pictures).solve(episodes).accuracy.mean())


def arm_cells(
    config: Config,
    arm: str,
    run_data: RunData,
    device: Device,
    judged: Mapping[str, EpisodeBatch],
    tables: dict[str, Tensor] | None = None,
) -> list[Cell]:
    """The results of the learner that meta-training chose; and of the vote of its rounds, if it kept them.

    `tables` are as of `train_arm`: features of the scored split are added.
    """
    folder, train, split = RunFolder.of(config), run_data.splits.train, config.evaluate.split
    meta, pretrained = checkpoints.read(folder.meta), read_pretrained(folder, config)
    learner = meta_trained_learner(meta, pretrained, config, train, device)
    pictures = run_data.split_images(split, device)
    if learner.backbone_frozen:
        key = f"{split} {config.meta.head.levels}"
        pictures = with_table(learner, pictures, {} if tables is None else tables, key)
    seconds = float(meta["seconds"])

    def cell(name: str, solve: Solve) -> Cell:
        return Cell(
            name,
            config.seed,
            answer(solve, config, run_data, judged),
            curve=_curve(folder.metrics, STAGE) if name == arm else [],
            seconds_per_step=seconds / meta_steps(config),
            seconds=seconds,
            images=images_passed(config, len(train)),
        )

    beside = votes(meta, partial(learner_from_pretrained, pretrained, config, train, device), pictures)
    return [
        cell(arm, from_learner(arm, learner, pictures).solve),
        *(cell(f"{arm}, {one.name}", one.solve) for one in beside),
    ]


def pretrained_cell(
    config: Config, arm: str, run_data: RunData, device: Device, judged: Mapping[str, EpisodeBatch]
) -> Cell:
    """The pretrained backbone with the head that is best on validation tasks, setting by setting."""
    folder, split = RunFolder.of(config), config.evaluate.split
    payload = read_pretrained(folder, config)
    heads = {s: heads_of(payload, config, run_data, s, device) for s in ("val", split)}
    answers: dict[str, Answers] = {}
    for way, shot in config.evaluate.settings:
        one = replace(config, evaluate=replace(config.evaluate, settings=((way, shot),)))
        best = best_head(heads["val"], one, run_data)
        answers |= answer(heads[split][best], one, run_data, judged)
    epochs, images = config.pretrain.epochs, len(run_data.pretrain_images)
    return Cell(arm, config.seed, answers, [], None, float(payload["seconds"]), epochs * images)


def pretraining_cell(config: Config, arm: str, run_data: RunData, device: Device) -> Cell:
    """As `pretrained_cell`, and the results on held-out images of the base classes."""
    cell = pretrained_cell(config, arm, run_data, device, {})
    folder = RunFolder.of(config)
    payload = read_pretrained(folder, config)
    answers = dict(cell.answers)
    if len(run_data.held_out) and "classifier" in payload:  # which no training leaves out
        network = pretrained_network(payload, config, run_data.splits.train)
        device.place(network)
        answers |= base_answers(network, run_data, device)
    curve = _curve(folder.metrics, PRETRAIN)
    steps = curve[-1][0]
    return replace(
        cell, answers=answers, curve=curve, seconds_per_step=cell.seconds / steps if steps else None
    )


def answer(
    solve: Solve, config: Config, run_data: RunData, judged: Mapping[str, EpisodeBatch]
) -> dict[str, Answers]:
    """Results on the fixed tasks of each setting, the same for all arms and seeds, and on the judged ones."""
    cfg, answers = config.evaluate, {}
    for way, shot in cfg.settings:
        name = _setting_name(way, shot)
        episodes = run_data.fixed_episodes(
            cfg.split, EpisodeShape(way, shot, cfg.queries), cfg.tasks, 0, "compare", cfg.within_group
        )
        hard = solve(judged[name]).accuracy if name in judged else torch.empty(0)
        answers[name] = Answers(episodes.classes, solve(episodes).recall, hard, cfg.queries)
    return answers


def judge(config: Config, run_data: RunData, device: Device) -> dict[str, EpisodeBatch]:
    """Tasks of the novel classes that the pretrained backbone of `config` confuses, for every setting."""
    cfg, tasks = config.evaluate, config.compare.judged_tasks
    if not tasks:
        return {}
    payload = read_pretrained(RunFolder.of(config), config)
    backbone = pretrained_backbone(payload, config, run_data.splits.train)
    images = run_data.split(cfg.split)
    table = table_of(backbone, run_data.split_images(cfg.split, device), device).cpu()
    confusions = pair_confusions(
        power_transform(table, config.meta.head.power), images.labels, images.num_classes
    )
    index = run_data.index(cfg.split)
    return {
        _setting_name(way, shot): judged_episodes(
            index, confusions, way, shot, cfg.queries, tasks, generator(config.seed, "judge", way, shot)
        )
        for way, shot in cfg.settings
    }


def _setting_name(way: int, shot: int) -> str:
    return f"{way}-way {shot}-shot"


def heads_of(
    payload: Mapping[str, Any], config: Config, run_data: RunData, split: str, device: Device
) -> dict[str, Solve]:
    """The heads that a pretrained backbone can use, by name.

    Cosine prototypes and logistic regression, on the features and on their power `meta.head.power`; and the
    learner as meta-training starts with it.
    """
    train = run_data.splits.train
    pictures = run_data.split_images(split, device)
    table = table_of(pretrained_backbone(payload, config, train), pictures, device)
    bent = power_transform(table, config.meta.head.power)
    learner = learner_from_pretrained(payload, config, train, device)
    return {
        "prototypes": from_table("", cosine_prototypes, table).solve,
        "prototypes, power": from_table("", cosine_prototypes, bent).solve,
        "logistic regression": from_table("", logistic_on_unit_features, table).solve,
        "logistic regression, power": from_table("", logistic_on_unit_features, bent).solve,
        "start of meta-training": from_learner("", learner, pictures).solve,
    }


def best_head(heads: Mapping[str, Solve], config: Config, run_data: RunData) -> str:
    """The one of the heads with the best accuracy on validation tasks of the one setting of `config`."""
    (way, shot), queries = config.evaluate.settings[0], config.evaluate.queries
    counts = run_data.splits.val.class_counts()
    shot = min(shot, int(counts.min()) - 1)  # validation classes may be smaller than the novel ones
    largest = int(torch.bincount(run_data.splits.val.domain_ids()).max())  # a task is of one set
    way, queries = min(way, largest), min(queries, int(counts.min()) - shot)
    within = config.meta.validate_within_group
    episodes = run_data.fixed_episodes(
        "val", EpisodeShape(way, shot, queries), VALIDATION_TASKS, config.seed, "head", within
    )
    return max(heads, key=lambda name: float(heads[name](episodes).accuracy.mean()))


def _curve(path: Path, stage: str) -> list[tuple[int, float]]:
    """(step, validation accuracy) out of metrics.jsonl; of pretraining the mean over its settings."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        (int(line["step"]), fmean(float(value) for key, value in line.items() if key.startswith("val")))
        for line in lines
        if line["stage"] == stage and "vote" not in line  # which is of several learners, after the last step
    ]
