"""One cell of a comparison: an arm trained with one seed, and its answers on the novel classes."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mtl.compare.answers import Answers, Cell
from mtl.compare.arms import images_seen
from mtl.compare.judge import judged_episodes, pair_confusions
from mtl.config import Config
from mtl.episodes.samplers import meta_steps
from mtl.episodes.types import EpisodeBatch, Outcome
from mtl.models.heads import power_transform
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.stages.contenders import logistic_on_unit_features, table_of
from mtl.stages.material import Material
from mtl.stages.meta_train import STAGE, meta_train
from mtl.stages.pretrain import cosine_prototypes
from mtl.stages.solving import Head, solve_episodes, solve_table
from mtl.stages.trained import meta_trained_learner, pretrained_backbone, read_pretrained

VALIDATION_TASKS = 1000  # that the head of a pretrained backbone is chosen on

Solve = Callable[[EpisodeBatch], Outcome]


def setting_name(way: int, shot: int) -> str:
    return f"{way}-way {shot}-shot"


def train_arm(config: Config, pretrained: Path, material: Material) -> float:
    """Meta-trains in the run folder of `config` from the checkpoint `pretrained`; goes on where it stopped.

    Returns the best accuracy on the validation tasks.
    """
    folder = RunFolder.of(config)
    folder.path.mkdir(parents=True, exist_ok=True)
    if not folder.pretrain.exists():
        temporary = folder.pretrain.with_name("pretrain.pt.tmp")
        shutil.copyfile(pretrained, temporary)
        temporary.rename(folder.pretrain)
    meta_train(config, resume=True, material=material)
    return float(checkpoints.read(folder.meta)["score"])


def arm_cell(
    config: Config, arm: str, material: Material, device: Device, judged: Mapping[str, EpisodeBatch]
) -> Cell:
    """What the learner that meta-training chose answers."""
    folder = RunFolder.of(config)
    meta = checkpoints.read(folder.meta)
    learner = meta_trained_learner(
        meta, read_pretrained(folder, config), config, material.splits.train, device
    )
    pictures = material.pictures(config.evaluate.split, device)
    answers = answer(lambda episodes: solve_episodes(learner, pictures, episodes), config, material, judged)
    seconds = float(meta["seconds"])
    return Cell(
        arm,
        config.seed,
        answers,
        curve=_curve(folder.metrics),
        seconds_per_step=seconds / meta_steps(config),
        seconds=seconds,
        images=images_seen(config),
    )


def pretrained_cell(
    config: Config, arm: str, material: Material, device: Device, judged: Mapping[str, EpisodeBatch]
) -> Cell:
    """What the pretrained backbone answers with the head that does best on validation tasks of a setting."""
    folder = RunFolder.of(config)
    payload = read_pretrained(folder, config)
    backbone = pretrained_backbone(payload, config, material.splits.train)
    tables = {split: table_of(backbone, material, split, device) for split in ("val", config.evaluate.split)}
    answers: dict[str, Answers] = {}
    for way, shot in config.evaluate.settings:
        one = replace(config, evaluate=replace(config.evaluate, settings=((way, shot),)))
        head = best_head(tables["val"], one, material)
        table = tables[config.evaluate.split]
        solve = _with_head(head, table)
        answers |= answer(solve, one, material, judged)
    epochs, images = config.pretrain.epochs, len(material.pretrain_images)
    return Cell(arm, config.seed, answers, [], None, float(payload["seconds"]), epochs * images)


def answer(
    solve: Solve, config: Config, material: Material, judged: Mapping[str, EpisodeBatch]
) -> dict[str, Answers]:
    """Answers to the fixed tasks of each setting, the same for all arms and seeds, and to the judged ones."""
    how, found = config.evaluate, {}
    for way, shot in how.settings:
        name = setting_name(way, shot)
        episodes = material.fixed_episodes(
            how.split, way, shot, how.queries, how.tasks, 0, "compare", how.within_group
        )
        hard = solve(judged[name]).accuracy if name in judged else torch.empty(0)
        found[name] = Answers(episodes.classes, solve(episodes).recall, hard, how.queries)
    return found


def judge(config: Config, material: Material, device: Device) -> dict[str, EpisodeBatch]:
    """Tasks of the novel classes that the pretrained backbone of `config` confuses, for every setting."""
    how, wanted = config.evaluate, config.compare.judged_tasks
    if not wanted:
        return {}
    payload = read_pretrained(RunFolder.of(config), config)
    backbone = pretrained_backbone(payload, config, material.splits.train)
    images = material.split(how.split)
    table = table_of(backbone, material, how.split, device).cpu()
    confusions = pair_confusions(
        power_transform(table, config.meta.head.power), images.labels, images.num_classes
    )
    found = {}
    for way, shot in how.settings:
        random = generator(config.seed, "judge", way, shot)
        found[setting_name(way, shot)] = judged_episodes(
            material.index(how.split), confusions, way, shot, how.queries, wanted, random
        )
    return found


def best_head(table: Tensor, config: Config, material: Material) -> Head:
    """The head with the best accuracy on validation tasks of the one setting of `config`.

    Cosine prototypes and logistic regression, on the features and on their power `meta.head.power`.
    """
    (way, shot), queries = config.evaluate.settings[0], config.evaluate.queries
    labels = material.splits.val.class_counts()
    way = min(way, len(labels))
    queries = min(queries, int(labels.min()) - shot)
    episodes = material.fixed_episodes("val", way, shot, queries, VALIDATION_TASKS, config.seed, "head")
    place = episodes.image_indices()

    def score(head: Head) -> float:
        return float(solve_table(head, table, place, episodes).accuracy.mean())

    plain = (cosine_prototypes, logistic_on_unit_features)
    return max((*plain, *(_bent(head, config.meta.head.power) for head in plain)), key=score)


def _bent(head: Head, power: float) -> Head:
    return lambda features, way, shot: head(power_transform(features, power), way, shot)


def _with_head(head: Head, table: Tensor) -> Solve:
    return lambda episodes: solve_table(head, table, episodes.image_indices(), episodes)


def _curve(path: Path) -> list[tuple[int, float]]:
    """(step, validation accuracy) of meta-training, out of metrics.jsonl."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(int(line["step"]), float(line["val"])) for line in lines if line["stage"] == STAGE]
