"""MAML, ANIL and Meta-SGD out of learn2learn, on this project's episodes, samplers and evaluation.

Finn et al., ICML 2017; Raghu et al., ICLR 2020; Li et al., 2017. The algorithms are learn2learn's own; here
they are given one task after another.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Meta
from mtl.learners.types import Learner, episode_labels
from mtl.models.batch_norm import running_statistics_kept, set_training
from mtl.runtime.devices import Device
from mtl.runtime.learn2learn_package import import_learn2learn


class GradientMethod(Learner):
    """A backbone and a linear classifier of N outputs, adapted by gradient steps in every episode.

    maml and meta_sgd adapt every weight, meta_sgd with a learned rate for each; anil the classifier alone,
    so that an episode's features are the same whatever it adapts to.

    Args:
        backbone: pretrained; taken over.
        config: `algorithm`, `inner_lr`, `inner_steps`, `order`, `way`, `batch_norm`.
        device: where the backbone runs.
        generator: of the classifier's first weights.
    """

    def __init__(self, backbone: nn.Module, config: Meta, device: Device, generator: torch.Generator) -> None:
        super().__init__()
        self.config, self.device = config, device
        self.features_cacheable = config.algorithm == "anil" and config.batch_norm != "episode"
        self.independent_tasks = config.batch_norm != "update"
        features = int(backbone.out_features)  # type: ignore[arg-type]
        classifier = nn.Linear(features, config.way)
        with torch.no_grad():
            nn.init.normal_(classifier.weight, std=features**-0.5, generator=generator)
            classifier.bias.zero_()
        algorithms = import_learn2learn(f"meta.algorithm: {config.algorithm}").algorithms
        first = config.order == "first"
        device.place(backbone.requires_grad_())
        classifier.to(device.torch_device)
        self.backbone: nn.Module = backbone if config.algorithm == "anil" else nn.Identity()
        if config.algorithm == "meta_sgd":
            whole = nn.Sequential(backbone, classifier)
            self.adapted = algorithms.MetaSGD(whole, lr=config.inner_lr, first_order=first)
        else:
            adapted = classifier if config.algorithm == "anil" else nn.Sequential(backbone, classifier)
            self.adapted = algorithms.MAML(adapted, lr=config.inner_lr, first_order=first)

    def meta_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters())

    def set_mode(self, training: bool, random: torch.Generator | None = None) -> None:
        set_training(self, training, self.config.batch_norm)

    def features(self, images: Tensor, mirror: bool = False) -> Tensor:
        return self.device.forward(self.backbone, images, mirror)

    def solve(self, images: Tensor, way: int, shot: int) -> Tensor:
        if self.features_cacheable:
            return self.solve_at_once(images, way, shot)
        if self.config.batch_norm == "episode":
            with running_statistics_kept(self):
                return self._solve_each(images, way, shot)
        return self._solve_each(images, way, shot)

    def _solve_each(self, images: Tensor, way: int, shot: int) -> Tensor:
        anil = self.config.algorithm == "anil"
        tasks = [self.features(task) for task in images] if anil else images
        return torch.stack([self._adapt(task, way, shot) for task in tasks])

    def solve_features(self, features: Tensor, way: int, shot: int) -> Tensor:
        return torch.stack([self._adapt(task, way, shot) for task in features])

    def _adapt(self, task: Tensor, way: int, shot: int) -> Tensor:
        """Query logits (N·Q, N) of one task, from its images or features, support first."""
        support, query = task[: way * shot], task[way * shot :]
        labels = episode_labels(1, way, shot, self.device.torch_device)[0]
        # At meta-test nobody differentiates through the adaptation, but it still goes by gradients.
        first_order = self.config.order == "first" or not torch.is_grad_enabled()
        with torch.enable_grad():
            clone = self.adapted.clone()
            for _ in range(self.config.inner_steps):
                clone.adapt(F.cross_entropy(self._answer(clone, support), labels), first_order=first_order)
        return self._answer(clone, query)

    def _answer(self, network: nn.Module, inputs: Tensor) -> Tensor:
        return self.device.forward(network, inputs) if inputs.ndim == 4 else network(inputs)
