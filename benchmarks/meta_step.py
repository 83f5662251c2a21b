"""A step of meta-training over a bare forward and backward pass of the same images."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor, nn

from benchmarks.harness import Row, median_seconds, paired, told
from benchmarks.workload import CASES, TINY, Case, Precision, Workload, backbone_of, workload
from mtl.ledger.store import Ledger
from mtl.models.batch_norm import norms, set_training
from mtl.runtime.devices import Device

MOST_OVER_BARE = 1.10
MOST_FOR_IMAGES = 3.0


def rows(quick: bool) -> Iterator[Row]:
    """Draw, gather, augment, solve, update and record over the bare backbone; the images' share of it.

    The backbone is bare in two ways: with its fixed batch norms taken into the convolutions, as the step
    itself takes them, and with norms that are layers of their own.
    """
    for case in TINY if quick else CASES:
        for precision in case.precisions:
            for shot in (1, 5):
                yield from over_bare(case, shot, precision)


def over_bare(case: Case, shot: int, precision: Precision) -> Iterator[Row]:
    """One case, shot and precision."""
    work = workload(case, shot, precision)
    batch = work.draw()
    fixed = work.images(batch).flatten(0, 1)
    what = f"{case}, {precision}, 5-way {shot}-shot"
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger") as ledger:
        step = recorded_step(work, ledger)
        for name, learn in (("norms taken in", False), ("norms apart", True)):
            found = paired(step, bare_pass(backbone_of(case), work.device, fixed, learn), case.pairs)
            yield Row(f"{what}: step / bare, {name}", found.ratio, "×", MOST_OVER_BARE, True, str(found))
    drawing = median_seconds(drawn_images(work), 3 * case.pairs)
    figures = f"{told(drawing)} of {told(found.a)}"
    yield Row(f"{what}: images", 100 * drawing / found.a, "%", MOST_FOR_IMAGES, True, figures)


def recorded_step(work: Workload, ledger: Ledger) -> Callable[[], None]:
    """A whole step with its entry in the ledger."""

    def step() -> None:
        batch, outcome = work.whole_step()
        ledger.append("meta-train", 0, 0, batch, outcome, "train")

    return step


def drawn_images(work: Workload) -> Callable[[], Tensor]:
    """Draws, gathers and augments a meta-batch."""
    return lambda: work.images(work.draw())


def bare_pass(
    backbone: nn.Module, device: Device, images: Tensor, norms_learn: bool = True
) -> Callable[[], None]:
    """Forward and backward of normalised images (B, C, H, W); batch norm by running statistics.

    Takes every weight's gradient, those of the norms where they are to learn.
    """
    device.place(backbone.requires_grad_())
    set_training(backbone, training=True, batch_norm="frozen")
    for norm in norms(backbone):
        norm.requires_grad_(norms_learn)

    def one() -> None:
        backbone.zero_grad(set_to_none=True)
        device.forward(backbone, images).sum().backward()  # type: ignore[no-untyped-call]

    return one
