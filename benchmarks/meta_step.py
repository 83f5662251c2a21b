"""A step of meta-training over a bare forward and backward pass of the same images."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor, nn

from benchmarks.harness import Row, median_seconds, paired, told
from benchmarks.workload import CASES, TINY, Workload, backbone_of, workload
from mtl.hard_tasks.ledger import Ledger
from mtl.models.batch_norm import set_training
from mtl.runtime.devices import Device

MOST_OVER_BARE = 1.10
MOST_FOR_IMAGES = 3.0


def rows(quick: bool) -> Iterator[Row]:
    """Draw, gather, augment, solve, update and record over the bare backbone; the images' share of it."""
    for case in TINY if quick else CASES:
        for precision in case.precisions:
            for shot in (1, 5):
                work = workload(case, shot, precision)
                batch = work.draw()
                fixed = work.images(batch).flatten(0, 1)
                bare = bare_pass(backbone_of(case), work.device, fixed)
                with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger") as ledger:
                    found = paired(recorded_step(work, ledger), bare, case.pairs)
                what = f"{case}, {precision}, 5-way {shot}-shot"
                yield Row(f"{what}: step / bare", found.ratio, "×", MOST_OVER_BARE, True, str(found))
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


def bare_pass(backbone: nn.Module, device: Device, images: Tensor) -> Callable[[], None]:
    """Forward and backward of normalised images (B, C, H, W), every weight's gradient; batch norm frozen."""
    device.place(backbone.requires_grad_())
    set_training(backbone, training=True, batch_norm="frozen")

    def one() -> None:
        backbone.zero_grad(set_to_none=True)
        device.forward(backbone, images).sum().backward()  # type: ignore[no-untyped-call]

    return one
