"""Resident memory: training on 60,000 images of 84×84, and solving 100-way 20-shot episodes.

Each figure is the peak of a process: imports, and what earlier stages left with it, are included. Images come
out of the project's cache, where they are mapped: pages that were read count as resident, though the system
may take them back at any time. Here all of them are read first, as an epoch does.
"""

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Row
from mtl.config import Config, Head, read_config
from mtl.data import ImageSet, Splits
from mtl.data.augment import Normalise
from mtl.data.cache import cached
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.evaluation.baselines import logistic_on_unit_features
from mtl.learners.learner import episode_labels
from mtl.models.heads import BaseLearner
from mtl.runtime.seeds import generator
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain
from mtl.training.run_data import RunData
from mtl.training.solve import Head as Solver
from mtl.training.solve import solve_table

PROJECT = Path(__file__).parents[1]
TRAINING, SOLVING = 6.0, 4.0  # GB that they may take
NETWORKS = (("conv4", "float32"), ("resnet12", "bfloat16"))
FEATURES, INNER_STEPS = 640, 100


@dataclass(frozen=True)
class Size:
    """How much there is of everything; episodes have 15 queries a class."""

    side: int  # of the images, in pixels
    classes: tuple[int, int, int]  # of train, val and test
    per_class: int
    channels: tuple[int, int, int, int] | None  # of the networks; None: as published
    batch: int  # of pretraining
    tasks: int  # of meta-training, 5-way 5-shot
    validated: int  # images of each validation class: enough to fill what passes the backbone at once
    way: int  # of what is solved
    shot: int
    episodes: int  # that are drawn
    solved: int  # of these: each takes the memory of the one before


SIZES = {
    "full": Size(84, (64, 16, 20), 600, None, 128, 4, 20, 100, 20, 200, 2),
    "quick": Size(16, (6, 5, 5), 20, (4, 4, 8, 8), 8, 1, 20, 5, 2, 4, 2),
}


def rows(quick: bool) -> Iterator[Row]:
    """Peaks in GB, each case in a process of its own."""
    name = "quick" if quick else "full"
    size = SIZES[name]
    with tempfile.TemporaryDirectory() as folder:
        held = sum(len(part) * part.images[0].nbytes for part in parts(noise(Path(folder), size))) / 1e9
        for network, precision in NETWORKS:
            found = in_a_process("train", name, folder, network, precision)
            for what, peak in found.items():
                label = f"{network}, {precision}, {size.side}×{size.side}: {what}"
                yield Row(label, peak, "GB", TRAINING, True, f"{held:.2f} of it may be pages of the set")
        for what, peak in in_a_process("solve", name).items():
            label = f"{size.way}-way {size.shot}-shot, D = {FEATURES}: {what}"
            yield Row(label, peak, "GB", SOLVING, True, f"{size.solved} of {size.episodes} episodes solved")


def in_a_process(*arguments: str) -> dict[str, float]:
    """Peaks of a case that runs alone. Raises RuntimeError with its last words where it fails."""
    command = [sys.executable, "-m", "benchmarks.memory", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    peaks: dict[str, float] = json.loads(done.stdout)
    return peaks


def train(of: str, folder: str, network: str, precision: str) -> dict[str, float]:
    """One step of pretraining and one of meta-training, with the validation that belongs to them."""
    size = SIZES[of]
    splits = noise(Path(folder), size)
    for part in parts(splits):
        part.images.flatten()[::4096].sum()  # reads every page
    config = run_config(size, folder, network, precision)
    among = few(splits.val, size.validated)
    run_data = prepared(Splits(splits.train, among, splits.test, splits.name), size)
    return {
        "pretraining": peak_of(lambda: pretrain(config, run_data=run_data)),
        "meta-training": peak_of(lambda: meta_train(config, run_data=run_data)),
    }


def solve(of: str) -> dict[str, float]:
    """The two heads of an evaluation, on features that were computed before."""
    size = SIZES[of]
    random = generator(0, "features")
    table = torch.rand(size.way * size.per_class, FEATURES, generator=random)
    labels = torch.arange(size.way).repeat_interleave(size.per_class)
    sampler = CategoriesSampler.of(ClassIndex.of(labels), EpisodeShape(size.way, size.shot, 15))
    episodes = sampler.draw(size.episodes)[: size.solved]
    learner = BaseLearner(Head(inner_steps=INNER_STEPS), FEATURES, size.way)

    def adapted(features: Tensor, way: int, shot: int) -> Tensor:
        support, query = features[:, : way * shot], features[:, way * shot :]
        logits: Tensor = learner(
            support, episode_labels(len(features), way, shot, features.device), query, way
        )
        return logits

    def peak(head: Solver) -> float:
        return peak_of(lambda: solve_table(head, table, episodes.image_indices(), episodes))

    return {
        f"gradient descent, {INNER_STEPS} steps": peak(adapted),
        "logistic regression": peak(logistic_on_unit_features),
    }


CASES: dict[str, Callable[..., dict[str, float]]] = {"train": train, "solve": solve}


def noise(root: Path, size: Size) -> Splits:
    """Random images, drawn the first time and opened from then on; every class has the same ones."""

    def part(name: str, classes: int) -> ImageSet:
        shape = (size.per_class, 3, size.side, size.side)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(0, name))
        labels = torch.arange(classes).repeat_interleave(size.per_class)
        return ImageSet(
            images.repeat(classes, 1, 1, 1), labels, tuple(f"{name} {c:02d}" for c in range(classes))
        )

    def build() -> Splits:
        train, val, test = map(part, ("train", "val", "test"), size.classes)
        return Splits(train, val, test, "noise")

    return cached(root, "noise", (size,), build)


def parts(splits: Splits) -> tuple[ImageSet, ImageSet, ImageSet]:
    return splits.train, splits.val, splits.test


def few(images: ImageSet, per_class: int) -> ImageSet:
    """The first images of each class."""
    rows = torch.cat(
        [(images.labels == c).nonzero().flatten()[:per_class] for c in range(images.num_classes)]
    )
    return ImageSet(images.images[rows], images.labels[rows], images.class_names)


def prepared(splits: Splits, size: Size) -> RunData:
    """As `load_run_data` would have it, but for pretraining, which gets a single batch."""
    everything = torch.arange(len(splits.train))
    batch = torch.randperm(len(everything), generator=generator(0, "batch"))[: size.batch]
    mean, std = splits.train.mean_std()
    right = torch.zeros(len(everything), dtype=torch.bool)
    return RunData(splits, Normalise(tuple(mean), tuple(std)), batch, everything, everything[:0], right)


def run_config(size: Size, folder: str, network: str, precision: str) -> Config:
    """One step of each stage."""
    augment = {"crop": 8 if size.side > 16 else 2, "flip": True}
    sections: dict[str, Any] = {
        "run": f"{network}-{precision}",
        "checkpoints": folder,
        "data": {"name": "image_folder", "augment": augment},
        "backbone": {"name": network, "channels": size.channels},
        "pretrain": {"epochs": 1, "batch_size": size.batch, "validate_tasks": 2},
        "meta": {"way": 5, "shot": 5, "queries": 15, "tasks": size.tasks, "steps": 1, "validate_tasks": 1},
        "hard_tasks": {"sampler": "uniform"},  # no pool to be solved before the step
        "runtime": {"device": "cpu", "precision": precision},
    }
    return read_config(sections, "benchmark")


def peak_of(work: Callable[[], object]) -> float:
    """Most GB that were resident at once while `work` ran; but for Linux, since the process started."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    work()
    try:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) * 1024 / 1e9
    except (OSError, KeyError):  # not getrusage on Linux: it counts the parent's memory from before the start
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e9 if sys.platform == "darwin" else most * 1024 / 1e9


if __name__ == "__main__":
    sys.stdout.write(json.dumps(CASES[sys.argv[1]](*sys.argv[2:])))
