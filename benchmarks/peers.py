"""Other libraries' few-shot learners, trained on our images and scored on our tasks.

Each trains as its own examples do: learn2learn's networks, task data sets and MAML, and a plain classifier
whose features easyfsl's heads use. Nothing of them is changed; images are normalised tensors in memory: no
decoding counts against them.
"""

import itertools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mtl.episodes.episode import EpisodeBatch
from mtl.learners.learner import episode_labels
from mtl.runtime.learn2learn_package import import_learn2learn


class Peer(ABC):
    """A learner that trains for as long as it is told, and is then scored."""

    name: str
    channels: int

    def __init__(self, images: Tensor, labels: Tensor, way: int, seed: int = 0) -> None:
        """
        Args:
            images: (M, C, H, W) float32, normalised: of the base classes.
            labels: (M,) int64.
            way: of the tasks that it is scored on.
            seed: of the global generator, which the libraries draw from.
        """
        torch.manual_seed(seed)
        self.library, self.way = import_learn2learn("the comparison"), way
        self.network = self.library.vision.models.CNN4Backbone(channels=images.shape[1])
        self.data = TensorDataset(images, labels)
        self.steps = self.prepare(int(labels.max()) + 1)

    @abstractmethod
    def prepare(self, classes: int) -> Iterator[None]:
        """Builds what else is trained; then each item is one update."""

    @abstractmethod
    def answers(self, images: Tensor, shot: int) -> Tensor:
        """Logits (N·Q, N) of one task's images (N·K + N·Q, C, H, W)."""

    def train(self, seconds: float) -> float:
        """Trains for about this long; the time it took."""
        self.network.train()
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            next(self.steps)
        return time.perf_counter() - start

    def accuracy(self, images: Tensor, episodes: EpisodeBatch) -> float:
        """Mean accuracy on tasks of `images` (M, C, H, W)."""
        self.network.eval()
        right = episode_labels(1, episodes.way, episodes.queries, images.device)[0]
        found = [
            (self.answers(images[rows], episodes.shot).argmax(-1) == right).float().mean()
            for rows in episodes.image_indices()
        ]
        return float(torch.stack(found).mean())

    def tasks(self, way: int, images: int) -> Iterator[tuple[Tensor, Tensor]]:
        """learn2learn's random tasks: images (N · n, C, H, W) sorted by class, and their labels."""
        data, parts = self.library.data, self.library.data.transforms
        meta = data.MetaDataset(self.data)
        changes = [
            parts.NWays(meta, way),
            parts.KShots(meta, images),
            parts.LoadData(meta),
            parts.RemapLabels(meta),
            parts.ConsecutiveLabels(meta),
        ]
        return (tuple(one) for one in iter(data.TaskDataset(meta, changes, num_tasks=-1).sample, None))


class PrototypicalNetwork(Peer):
    """Snell et al. (NeurIPS 2017) on learn2learn's tasks: of 60 classes on Omniglot, of 20 on colour sets."""

    name = "learn2learn, ProtoNet"
    episodes_to_half = 2000  # updates after which the rate is halved

    def prepare(self, classes: int) -> Iterator[None]:
        way = min(60 if self.data.tensors[0].shape[1] == 1 else 20, classes)
        least = int(torch.bincount(self.data.tensors[1]).min())
        queries = min(5 if way > 20 else 15, least - 1)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, self.episodes_to_half, 0.5)
        for images, _ in self.tasks(way, 1 + queries):
            features = self.network(images).view(way, 1 + queries, -1)
            logits = -torch.cdist(features[:, 1:].flatten(0, 1), features[:, 0]).square()
            loss = F.cross_entropy(logits, torch.arange(way).repeat_interleave(queries))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            yield

    @torch.no_grad()
    def answers(self, images: Tensor, shot: int) -> Tensor:
        features = self.network(images)
        support = features[: self.way * shot].view(self.way, shot, -1).mean(1)
        return -torch.cdist(features[self.way * shot :], support).square()


class Maml(Peer):
    """Finn et al. (ICML 2017) with learn2learn's MAML: meta-batches of 16, one inner step of 0.5."""

    name = "learn2learn, MAML"
    meta_batch, inner_steps, inner_lr, queries = 16, 1, 0.5, 5

    def prepare(self, classes: int) -> Iterator[None]:
        shape = self.data.tensors[0].shape
        width = self.network(torch.zeros(1, *shape[1:])).shape[1]
        # the libraries' examples normalise by the task's own statistics, as Finn et al. did
        self.network = nn.Sequential(self.network, nn.Linear(width, self.way))
        self.learner = self.library.algorithms.MAML(self.network, lr=self.inner_lr, first_order=False)
        optimizer = torch.optim.Adam(self.learner.parameters(), lr=3e-3)
        tasks = self.tasks(self.way, 1 + self.queries)
        while True:
            optimizer.zero_grad()
            for images, _ in itertools.islice(tasks, self.meta_batch):
                mine = images.view(self.way, 1 + self.queries, *shape[1:])
                logits = self._adapted(mine[:, :1].flatten(0, 1), 1)(mine[:, 1:].flatten(0, 1))
                loss = F.cross_entropy(logits, torch.arange(self.way).repeat_interleave(self.queries))
                (loss / self.meta_batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield

    def _adapted(self, support: Tensor, shot: int) -> Any:
        learner, labels = self.learner.clone(), torch.arange(self.way).repeat_interleave(shot)
        for _ in range(self.inner_steps):
            learner.adapt(F.cross_entropy(learner(support), labels))
        return learner

    def answers(self, images: Tensor, shot: int) -> Tensor:
        self.network.train()
        logits: Tensor = self._adapted(images[: self.way * shot], shot)(images[self.way * shot :])
        return logits.detach()


class PlainTraining(Peer):
    """A plain classifier of the base classes, by Adam; easyfsl's prototypical head on its features."""

    name = "plain training, easyfsl's ProtoNet head"
    batch = 128

    def prepare(self, classes: int) -> Iterator[None]:
        width = self.network(torch.zeros(1, *self.data.tensors[0].shape[1:])).shape[1]
        classifier = nn.Linear(width, classes)
        optimizer = torch.optim.Adam([*self.network.parameters(), *classifier.parameters()], lr=1e-3)
        batch = min(self.batch, 2 ** int(math.log2(len(self.data))))
        while True:
            for images, labels in DataLoader(self.data, batch, shuffle=True, drop_last=True):
                loss = F.cross_entropy(classifier(self.network(images)), labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                yield

    @torch.no_grad()
    def answers(self, images: Tensor, shot: int) -> Tensor:
        from easyfsl.methods import PrototypicalNetworks  # type: ignore[import-not-found]

        head = PrototypicalNetworks(self.network)
        head.process_support_set(images[: self.way * shot], torch.arange(self.way).repeat_interleave(shot))
        logits: Tensor = head(images[self.way * shot :])
        return logits


PEERS = (PrototypicalNetwork, Maml, PlainTraining)
