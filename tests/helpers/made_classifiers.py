"""Networks as meta-training leaves them, and classifiers fitted with them, without a run."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl.config import Backbone, Head, Meta, Runtime
from mtl.data.variants import PLAIN, Variants
from mtl.learners import Committee, MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.models.batch_norm import norms
from mtl.models.scale_shift import scale_shift_parameters
from mtl.own_images.classifier import FittedClassifier, fit_classifier
from mtl.own_images.embedder import Embedder, Origin, Preparation
from mtl.own_images.support import Support
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator

SIDE, WAY = 16, 3
KNOWN = [(1, 1.5), (5, 1.2)]  # temperatures
TINY = (4, 4, 6, 6)

#: Every base learner that there is.
HEADS = {
    "gradient descent from prototypes": Head(inner_steps=5, inner_lr=0.1),
    "gradient descent from zero": Head(init="zero", inner_steps=5, inner_lr=0.1),
    "cosine prototypes": Head(name="prototype"),
    "euclidean prototypes": Head(name="prototype", metric="euclid"),
    "ridge": Head(name="ridge"),
    "logistic": Head(name="logistic"),
}


def learner(
    name: str = "conv4",
    head: Head | None = None,
    train: str = "ss",
    channels: int = 1,
    size: int = SIDE,
    precision: str = "float32",
    network: nn.Module | None = None,
) -> MetaTransfer:
    """A learner whose parameters, statistics of batch norm too, are none of those that it starts with."""
    random = generator(0, "learner", name)
    widths = TINY if name in {"conv4", "resnet12"} else None
    backbone = network or build_backbone(Backbone(name, channels=widths), channels, size, random)
    runtime = Runtime(device="cpu", threads=1, keep_memory=False, precision=precision)
    made = MetaTransfer(backbone, Meta(head=head or Head(), train=train, way=WAY), choose_device(runtime))
    return changed(made, random)


def changed(made: MetaTransfer, random: torch.Generator) -> MetaTransfer:
    """Moves its parameters and statistics a little."""
    with torch.no_grad():
        parameters = [*scale_shift_parameters(made.backbone), *made.base_learner.parameters()]
        parameters += [p for norm in norms(made.backbone) for p in norm.parameters()]
        for parameter in parameters:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
        for norm in norms(made.backbone):
            norm.running_mean += 0.1 * torch.randn(norm.running_mean.shape, generator=random)
            norm.running_var *= 0.5 + torch.rand(norm.running_var.shape, generator=random)
    return made


def embedder(
    name: str = "conv4",
    head: Head | None = None,
    variants: Variants = PLAIN,
    channels: int = 1,
    size: int = SIDE,
    learners: int = 1,
    **how,
) -> Embedder:
    made = learner(name, head, channels=channels, size=size, **how)
    if learners > 1:
        others = [learner(name, head, channels=channels, size=size, **how) for _ in range(learners)]
        each = [changed(one, generator(seed, "member")) for seed, one in enumerate(others)]
        made = Committee(each, [1.0 + seed for seed in range(learners)])
    mean, std = (0.5, 0.4, 0.45)[:channels], (0.3, 0.25, 0.2)[:channels]
    widths = TINY if name in {"conv4", "resnet12"} else None
    origin = Origin("made up", Backbone(name, channels=widths), head or Head(), WAY, learners)
    return Embedder.of(made, Preparation(size, channels, mean, std, variants), origin, KNOWN)


def images(count: int, channels: int = 1, size: int = SIDE, seed: int = 0) -> Tensor:
    """Patches of 4×4 in half of the contrast, noise in the other: networks do not tell mere noise apart."""
    random = generator(seed, "images")
    patches = torch.rand(count, channels, 4, 4, generator=random).repeat_interleave(size // 4, -1)
    noise = torch.rand(count, channels, size, size, generator=random)
    return ((patches.repeat_interleave(size // 4, -2) + noise) * 127.5).to(torch.uint8)


def fitted(
    made: Embedder, counts: Sequence[int] = (4, 3, 2), classes: Sequence[str] = ("ash", "elm", "oak")
) -> FittedClassifier:
    """Fitted to noise: so many images of each class."""
    pixels = images(sum(counts), made.preparation.channels, made.preparation.size)
    names = [name for name, count in zip(classes, counts, strict=True) for _ in range(count)]
    return fit_classifier(
        made, Support.of(made(pixels), names, [f"{name}/{i}.png" for i, name in enumerate(names)])
    )
