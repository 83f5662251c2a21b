"""A piece of meta-training to time: the product's own parts on random images, nothing read from disk."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtl.config import Augment, Backbone, Config, Data, HardTasks, Head, Meta, Runtime
from mtl.data.augment import Normalise
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, Outcome, TaskSampler
from mtl.learners import build_learner
from mtl.learners.learner import Learner
from mtl.models.backbones import build_backbone
from mtl.runtime.devices import Device, choose_device
from mtl.runtime.seeds import generator
from mtl.runtime.world import ALONE, World
from mtl.samplers import build_sampler
from mtl.training.solve import SplitImages, episode_images, meta_step

Precision = Literal["float32", "bfloat16"]
Sampler = Literal["neighbours", "boosted", "boosted_pool"]
INNER_STEPS = 100


@dataclass(frozen=True)
class Case:
    """A backbone, its images and how they are changed."""

    name: str
    backbone: Literal["conv4", "resnet12"]
    channels: int
    size: int
    augment: Augment
    pairs: int  # how often it is timed: large networks take long, and their ratios vary little
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")

    def __str__(self) -> str:
        return f"{self.name} {self.size}×{self.size}"


CASES = (
    Case("Conv4", "conv4", 1, 28, Augment(rotate=8, translate=0.06, scale=0.1, shear=6), 15),
    Case("Conv4", "conv4", 3, 32, Augment(crop=4, flip=True), 15),
    Case("ResNet-12", "resnet12", 3, 32, Augment(crop=4, flip=True), 3, ("bfloat16",)),
)
TINY = (Case("tiny Conv4", "conv4", 3, 16, Augment(crop=2, flip=True), 1),)


@dataclass(frozen=True)
class Workload:
    """Everything that one step of meta-training touches."""

    config: Config
    device: Device
    pictures: SplitImages
    index: ClassIndex
    sampler: TaskSampler
    learner: Learner
    optimizer: Optimizer

    def draw(self) -> EpisodeBatch:
        return self.sampler.draw(self.config.meta.tasks)

    def images(self, batch: EpisodeBatch) -> Tensor:
        """(T, N·K + N·Q, C, H, W)."""
        random = generator(0, "images", batch.index[0])
        return episode_images(batch, self.pictures, self.config.data.augment, random)

    def step(self, batch: EpisodeBatch, images: Tensor) -> Outcome:
        self.learner.train()
        return meta_step(self.learner, self.optimizer, images, batch, self.pictures.at_once)

    def whole_step(self) -> tuple[EpisodeBatch, Outcome]:
        """From the draw to the outcome."""
        batch = self.draw()
        outcome = self.step(batch, self.images(batch))
        self.sampler.update(batch, outcome)
        return batch, outcome


def workload(
    case: Case,
    shot: int,
    precision: Precision,
    device: str = "cpu",
    algorithm: Literal["mtl", "anil"] = "mtl",
    order: Literal["first", "second"] = "second",
    sampler: Sampler = "boosted_pool",
) -> Workload:
    """5-way, 15 queries, 4 tasks, INNER_STEPS inner steps; hard tasks by the sampler's defaults."""
    config = config_of(case, shot, precision, device, algorithm, order, sampler)
    return of_config(config, case, *random_images(case, classes=64, per_class=40))


def config_of(
    case: Case,
    shot: int,
    precision: Precision,
    device: str = "cpu",
    algorithm: Literal["mtl", "anil"] = "mtl",
    order: Literal["first", "second"] = "second",
    sampler: Sampler = "boosted_pool",
) -> Config:
    """That of `workload`."""
    return Config(
        hard_tasks=HardTasks(sampler=sampler),
        data=Data(augment=case.augment),
        backbone=Backbone(name=case.backbone),
        meta=Meta(
            algorithm=algorithm,
            shot=shot,
            head=Head(inner_steps=INNER_STEPS, order=order),
            inner_steps=INNER_STEPS,
            order=order,
        ),
        runtime=Runtime(device=device, precision=precision),  # type: ignore[arg-type]
    )


def of_config(config: Config, case: Case, images: Tensor, labels: Tensor, world: World = ALONE) -> Workload:
    """What meta-training by a config works with, on these images (M, C, size, size) of classes (M,)."""
    placed = choose_device(config.runtime, world)
    index = ClassIndex.of(labels)
    learner = build_learner(config, backbone_of(case), placed, generator(0, "learner"))
    return Workload(
        config,
        placed,
        SplitImages(placed.hold(images), normalise(case), placed.images_at_once(case.size), world=world),
        index,
        build_sampler(config, index),
        learner,
        torch.optim.Adam(learner.meta_parameters(), lr=1e-3, fused=True),
    )


def random_images(case: Case, classes: int, per_class: int) -> tuple[Tensor, Tensor]:
    """uint8 images (M, C, size, size) and their classes (M,)."""
    shape = (classes * per_class, case.channels, case.size, case.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(0, "pixels"))
    return images, torch.arange(classes).repeat_interleave(per_class)


def normalise(case: Case) -> Normalise:
    return Normalise((0.5,) * case.channels, (0.25,) * case.channels)


def backbone_of(case: Case) -> nn.Module:
    return build_backbone(Backbone(name=case.backbone), case.channels, case.size, generator(0, "backbone"))
