"""Classifiers of the base classes, for pretraining; and the likelihood of answers."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Pretrain


class CosineClassifier(nn.Module):
    """Logits are `scale` times the cosine with each class's direction, less `margin` for the right class.

    The margin is that of CosFace (Wang et al., CVPR 2018, equation 4), and applies only while training.

    Args:
        features: D.
        classes: C.
        scale: of the logits.
        margin: in cosines.
    """

    def __init__(self, features: int, classes: int, scale: float, margin: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, features))
        nn.init.normal_(self.weight, std=features**-0.5)
        self.scale, self.margin = scale, margin

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, D) to (B, C); the margin is subtracted if labels (B,) are given."""
        cosine = F.normalize(features, dim=-1) @ F.normalize(self.weight, dim=-1).T
        if labels is not None and self.margin:
            cosine = cosine - self.margin * F.one_hot(labels, cosine.shape[-1])
        return self.scale * cosine


class LinearClassifier(nn.Linear):
    """A plain linear layer with the call signature of CosineClassifier."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, D) to (B, C); labels make no difference."""
        return super().forward(features)


class Classifiers(nn.ModuleList):
    """A classifier for each network of an `Ensemble`, of that network's part of the features.

    Together they answer with the mean of their logits; each is trained by its own loss (`parts`), for a loss
    of the mean would let the networks lean on each other.
    """

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, D) to (B, C); labels (B,) as of each."""
        return torch.stack([one(part, labels) for one, part in self.parts(features)]).mean(0)

    def parts(self, features: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        """Each classifier with its part of the features (B, D)."""
        return zip(self, features.chunk(len(self), -1), strict=True)


def parts(classifier: nn.Module, features: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
    """The classifiers that learn each by itself, and the part of the features (B, D) that each takes."""
    return (
        classifier.parts(features) if isinstance(classifier, Classifiers) else iter([(classifier, features)])
    )


def build_classifier(
    config: Pretrain, features: int, classes: int, generator: torch.Generator, networks: int = 1
) -> nn.Module:
    """The classifier of a config, or those of several networks; torch's global generator is not touched."""

    def one(features: int) -> nn.Module:
        if config.classifier == "cosine":
            return CosineClassifier(features, classes, config.scale, config.margin)
        return LinearClassifier(features, classes)

    return _each(one, features, generator, networks)


def angle_classifier(features: int, generator: torch.Generator, networks: int = 1) -> nn.Module:
    """Predicts by how many right angles, 0 to 3, an image is turned, from its feature (B, D).

    The task is that of Gidaris et al. (ICLR 2018); beside classification it helps few-shot learning (Gidaris
    et al., "Boosting Few-Shot Visual Learning with Self-Supervision", ICCV 2019).
    """
    return _each(lambda features: LinearClassifier(features, 4), features, generator, networks)


def _each(
    build: Callable[[int], nn.Module], features: int, generator: torch.Generator, networks: int
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        each = [build(features // networks) for _ in range(networks)]
    return each[0] if networks == 1 else Classifiers(each)


def without_margin(classifier: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    """(B, C) logits as they are without the margin, by which training accuracy would be far too low."""
    if not isinstance(classifier, CosineClassifier) or not classifier.margin:
        return logits
    return logits + classifier.scale * classifier.margin * F.one_hot(labels, logits.shape[-1])


def within_domain(logits: Tensor, labels: Tensor, domains: Tensor) -> Tensor:
    """(B, C) logits, -inf for classes of other image sets than that of the label: one head for each set.

    Args:
        logits: (B, C).
        labels: (B,).
        domains: (C,) int64, the set of each class.
    """
    domains = domains.to(logits.device)
    return logits.masked_fill(domains[labels][:, None] != domains, -torch.inf)


def negative_log_likelihoods(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """(n,) float64: -ln p of the right class, from logits (n, N) divided by a temperature."""
    logs = torch.log_softmax(logits.double() / temperature, -1)
    return -logs.gather(1, labels[:, None])[:, 0]
