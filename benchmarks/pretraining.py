"""Pretraining's images per second over a bare training loop on random tensors of the same shape."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import Row, paired
from benchmarks.workload import (
    CASES,
    TINY,
    Case,
    backbone_of,
    normalise,
    random_images,
)
from mtl.config import Pretrain, Runtime
from mtl.data.augment import augment
from mtl.losses import CrossEntropy
from mtl.models.batch_norm import norms, share_statistics
from mtl.models.classifiers import build_classifier
from mtl.runtime.devices import Device, choose_device
from mtl.runtime.seeds import generator
from mtl.training.pretrain import pretrain_step
from mtl.training.pretrain_batches import Batch
from mtl.training.pretrain_objective import Objective

CLASSES, BATCH = 64, 128
LEAST = 0.95


def rows(quick: bool) -> Iterator[Row]:
    """Gather, augment, normalise and learn, against learning alone."""
    for case in TINY if quick else CASES:
        for precision in case.precisions:
            device = choose_device(Runtime(device="cpu", precision=precision))
            found = paired(bare_step(case, device), real_step(case, device), 2 * case.pairs)
            speed = f"{BATCH / found.b:.0f} images/s over {BATCH / found.a:.0f}"
            yield Row(f"{case}, {precision}", found.ratio, "×", LEAST, False, speed)
            found = paired(bare_step(case, device, Separate), bare_step(case, device), 2 * case.pairs)
            yield Row(
                f"{case}, {precision}: every norm a layer of its own, over the first one folded",
                found.ratio,
                "×",
                None,
                note=str(found),
            )


class Separate(nn.BatchNorm2d):
    """Batch norm that passes over the maps wherever it stands: `conv_norm` folds its base alone."""


def real_step(case: Case, device: Device, images: Tensor | None = None) -> Callable[[], object]:
    """A step as pretraining takes it, on another batch each time; of random images, unless some are given."""
    network, optimizer = fresh(case, device)
    images = random_images(case, CLASSES, per_class=40)[0] if images is None else images
    labels = torch.arange(len(images)) % CLASSES
    images, to_floats = device.hold(images), normalise(case)
    random, step = generator(0, "order"), iter(range(10**9))

    def one() -> object:
        rows = torch.randint(0, len(images), (BATCH,), generator=random)
        own = device.world.share(BATCH)
        changed = augment(images[rows[own]], case.augment, generator(0, "augment", next(step)), own, BATCH)
        batch = Batch(rows, to_floats(changed), labels[rows])
        return pretrain_step(network, device, optimizer, Objective(CrossEntropy()), batch)

    return one


def bare_step(case: Case, device: Device, norm: type[nn.BatchNorm2d] | None = None) -> Callable[[], object]:
    """The plainest training loop there is: one batch of noise, the same network and optimizer.

    Its batch norms are made a `norm` where one is given.
    """
    network, optimizer = fresh(case, device)
    for layer in norms(network) if norm else ():
        layer.__class__ = norm  # type: ignore[assignment]
    shape = (BATCH, case.channels, case.size, case.size)
    x = torch.randn(shape, generator=generator(0, "noise")).to(device.torch_device)
    y = (torch.arange(BATCH) % CLASSES).to(device.torch_device)

    def one() -> object:
        loss = F.cross_entropy(network["classifier"](device.forward(network["backbone"], x), y), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss

    return one


def fresh(case: Case, device: Device) -> tuple[nn.ModuleDict, torch.optim.Optimizer]:
    """Backbone, classifier and SGD as pretraining makes them."""
    backbone = backbone_of(case)
    features = int(backbone.out_features)  # type: ignore[arg-type]
    classifier = build_classifier(Pretrain(), features, CLASSES, generator(0, "classifier"))
    network = nn.ModuleDict({"backbone": backbone, "classifier": classifier})
    share_statistics(device.place(network), device.world).train()
    return network, torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True
    )
