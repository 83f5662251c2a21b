"""MAML, ANIL and Meta-SGD out of learn2learn, on this project's episodes, samplers and evaluation.

Finn et al., ICML 2017; Raghu et al., ICLR 2020; Li et al., 2017. learn2learn adapts to one task at a time.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Meta
from mtl.data.variants import PLAIN, Variants
from mtl.errors import UserError
from mtl.learners.learner import Learner, episode_labels
from mtl.runtime.devices import Device
from mtl.runtime.learn2learn_package import import_learn2learn


class GradientMethod(Learner):
    """A backbone and a linear classifier of N outputs, adapted by gradient steps in every episode.

    maml and meta_sgd adapt every weight, meta_sgd with a learned rate for each; anil adapts the classifier
    alone, so that features do not depend on the episode. `generator` initialises the classifier.
    """

    def __init__(self, backbone: nn.Module, config: Meta, device: Device, generator: torch.Generator) -> None:
        super().__init__(config, device)
        if config.batch_norm == "update" and device.world.size > 1:
            raise UserError(
                f"meta.algorithm: {config.algorithm} adapts to one task after another, and several processes "
                "cannot share statistics of them; take meta.batch_norm = frozen or episode, or one process"
            )
        self.features_cacheable = config.algorithm == "anil" and config.batch_norm != "episode"
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

    def features(self, images: Tensor, variants: Variants = PLAIN) -> Tensor:
        return variants.features(partial(self.device.forward, self.backbone), images)

    def solve_features(self, features: Tensor, way: int, shot: int) -> Tensor:
        return torch.stack([self._adapt(task, way, shot) for task in features])

    def solve_each(self, images: Tensor, way: int, shot: int) -> Tensor:
        anil = self.config.algorithm == "anil"
        tasks = [self.features(task) for task in images] if anil else images
        return torch.stack([self._adapt(task, way, shot) for task in tasks])

    def _adapt(self, task: Tensor, way: int, shot: int) -> Tensor:
        """Query logits (N·Q, N) of one task, from its images or features, support first."""
        support, query = task[: way * shot], task[way * shot :]
        labels = episode_labels(1, way, shot, self.device.torch_device)[0]
        # Under no_grad nothing is differentiated through the adaptation, but it still needs gradients.
        first_order = self.config.order == "first" or not torch.is_grad_enabled()
        with torch.enable_grad():
            clone = self.adapted.clone()
            for _ in range(self.config.inner_steps):
                clone.adapt(F.cross_entropy(self._logits(clone, support), labels), first_order=first_order)
        return self._logits(clone, query)

    def _logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        return self.device.forward(network, inputs) if inputs.ndim == 4 else network(inputs)
