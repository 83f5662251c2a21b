"""On a GPU: how near pretraining and meta-training come to its peak, and how fast episodes are evaluated.

    python -m benchmarks.gpu

Speeds of ResNet-12 at 84×84 and 32×32 in bfloat16, beside a bare pass and beside a large matrix product.
"""

import argparse
import sys
from collections.abc import Callable, Iterator

import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.__main__ import table
from benchmarks.evaluation import evaluation
from benchmarks.harness import Row, Work, median_seconds, paired, told
from benchmarks.meta_step import bare_pass
from benchmarks.pretraining import BATCH, bare_step, real_step
from benchmarks.workload import TINY, Case, backbone_of, workload
from mtl.config import Augment, Head, Runtime
from mtl.episodes.class_index import ClassIndex
from mtl.models.heads import BaseLearner
from mtl.runtime.devices import Device, choose_device

CASES = (
    Case("ResNet-12", "resnet12", 3, 84, Augment(crop=8, flip=True), 15),
    Case("ResNet-12", "resnet12", 3, 32, Augment(crop=4, flip=True), 15),
)
SHOT = 1


def rows(quick: bool, name: str = "cuda") -> Iterator[Row]:
    """Everything on one device; `quick` shows on any that it runs."""
    device = choose_device(Runtime(device=name, precision="bfloat16"))  # type: ignore[arg-type]
    peak = peak_flops(device, 256 if quick else 8192)
    for case in TINY if quick else CASES:
        yield from training(case, device, peak)
    yield evaluating(device, 100 if quick else 10_000)


def training(case: Case, device: Device, peak: float) -> Iterator[Row]:
    """Pretraining and meta-training over their bare passes, and the share of the peak that they reach."""
    wait = waiting(device)
    pretraining = paired(wait(bare_step(case, device)), wait(real_step(case, device)), case.pairs, warm_up=3)
    speed = f"{BATCH / pretraining.b:.0f} images/s"
    yield Row(f"{case}: pretraining, bare / real", pretraining.ratio, "×", 0.95, False, speed)
    with FlopCounterMode(display=False) as counted:
        bare_step(case, device)()
    share = 100 * counted.get_total_flops() / pretraining.b / peak
    yield Row(f"{case}: pretraining, of the peak", share, "%", None, note=f"{peak / 1e12:.0f} TFLOP/s")

    work = workload(case, SHOT, "bfloat16", device.torch_device.type)
    fixed = work.images(work.draw()).flatten(0, 1)
    bare = bare_pass(backbone_of(case), device, fixed)
    found = paired(wait(work.whole_step), wait(bare), case.pairs, warm_up=3)
    speed = f"{work.config.meta.tasks / found.a:.0f} episodes/s, {found}"
    yield Row(f"{case}: meta-training step / bare", found.ratio, "×", 1.15, True, speed)
    for part, taken in parts(case, device).items():
        yield Row(f"{case}: {part}", 1e3 * taken, "ms", None, note=f"of {told(found.a)}")


def parts(case: Case, device: Device) -> dict[str, float]:
    """The step's timeline: seconds of each of its parts, waited for one by one."""
    work, wait = workload(case, SHOT, "bfloat16", device.torch_device.type), waiting(device)
    batch = work.draw()
    images = work.images(batch)
    features = work.learner.features(images.flatten(0, 1)).detach().view(*images.shape[:2], -1)

    def adapt() -> None:
        logits = work.learner.solve_features(features.clone().requires_grad_(), batch.way, batch.shot)
        logits.logsumexp(-1).mean().backward()  # type: ignore[no-untyped-call]

    works: dict[str, Work] = {
        "draw": work.draw,
        "gather and augment": lambda: work.images(batch),
        "inner loop, forward and backward": adapt,
        "optimizer": work.optimizer.step,
    }
    return {name: median_seconds(wait(one), case.pairs) for name, one in works.items()}


def evaluating(device: Device, count: int) -> Row:
    """Seconds for episodes of 5 ways and 1 shot with cached features, D = 640, 100 inner steps."""
    labels = torch.arange(20).repeat_interleave(600)
    features = torch.randn(len(labels), 640, generator=torch.Generator().manual_seed(0))
    learner = BaseLearner(Head(inner_steps=100), 640, 5).to(device.torch_device)
    one = evaluation(learner, ClassIndex.of(labels), SHOT, features.to(device.torch_device), count)
    return Row(f"{count:,} episodes", median_seconds(waiting(device)(one), 5), "s", 1.0, True)


def peak_flops(device: Device, side: int) -> float:
    """Operations a second of a product of two `side`×`side` bfloat16 matrices."""
    a = torch.ones(side, side, dtype=torch.bfloat16, device=device.torch_device)
    return 2 * side**3 / median_seconds(waiting(device)(lambda: a @ a), 10)


def waiting(device: Device) -> Callable[[Work], Work]:
    """Makes work end when the device has done it."""

    def wait(work: Work) -> Work:
        def one() -> object:
            done = work()
            if device.torch_device.type == "cuda":
                torch.cuda.synchronize()
            return done

        return one

    return wait


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Speed on a GPU.")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, on the processor: does it run?")
    quick = parser.parse_args().quick
    if not quick and not torch.cuda.is_available():
        parser.error("there is no GPU here; --quick runs on the processor")
    Console(width=140).print(table("gpu", list(rows(quick, "cpu" if quick else "cuda"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
