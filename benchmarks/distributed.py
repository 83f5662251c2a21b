"""One training in two processes of one thread each, against one process of one and of two threads.

Each way runs in processes of its own, whose threads their environment sets. The share of collectives is the
time spent in them, the waiting for the other process included.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.harness import Row, told
from benchmarks.pretraining import real_step
from benchmarks.workload import CASES, TINY, Case, Precision, config_of, of_config, random_images
from mtl.config import Runtime
from mtl.runtime.devices import choose_device
from mtl.runtime.torchrun import joined_world
from mtl.runtime.world import World

FASTER = 1.7  # two processes of one thread than one of one
#: Processes and threads of each: what two are held against first.
WAYS = {"1 × 1": (1, 1), "1 × 2": (1, 2), "2 × 1": (2, 1)}


def rows(quick: bool) -> Iterator[Row]:
    """Speed of two processes over that of one, and what their messages cost."""
    for case in TINY if quick else CASES[1:]:
        precision = case.precisions[-1]
        for stage in ("meta-training",) if quick else ("pretraining", "meta-training"):
            found = {way: timed(stage, case, precision, *of, quick) for way, of in WAYS.items()}
            seconds = {way: one["seconds"] for way, one in found.items()}
            figures = ", ".join(f"{way} {told(value)} a step" for way, value in seconds.items())
            of_two, what = found["2 × 1"], f"{stage}, {case}, {precision}: 2 × 1 over"
            yield Row(f"{what} 1 × 1", seconds["1 × 1"] / seconds["2 × 1"], "×", FASTER, False, figures)
            messages = f"{of_two['calls']:.0f} calls and {of_two['bytes'] / 1e6:.2f} MB a step, "
            messages += f"{100 * of_two['waiting'] / seconds['2 × 1']:.0f} % of it in them"
            yield Row(f"{what} 1 × 2", seconds["1 × 2"] / seconds["2 × 1"], "×", 1.0, False, messages)


def timed(
    stage: str, case: Case, precision: Precision, processes: int, threads: int, quick: bool
) -> dict[str, float]:
    """What the first of the processes measures."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    launch = launch if processes > 1 else []
    job = json.dumps([stage, [*CASES, *TINY].index(case), precision, 2 if quick else 4 * case.pairs])
    done = subprocess.run(
        [sys.executable, *launch, "-m", "benchmarks.distributed", job],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measured(stage: str, case: Case, precision: Precision, steps: int, world: World) -> dict[str, float]:
    """Seconds of a step, and calls, bytes and seconds of its collectives."""
    step = step_of(stage, case, precision, world)
    for _ in range(2):
        step()
    spent = {"calls": 0.0, "bytes": 0.0, "waiting": 0.0}
    for name in ("all_reduce", "all_gather"):
        setattr(dist, name, counted(getattr(dist, name), spent))
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds)} | {name: total / steps for name, total in spent.items()}


def step_of(stage: str, case: Case, precision: Precision, world: World) -> Callable[[], object]:
    """A step of a stage, from the draw of its images to the update."""
    if stage == "meta-training":
        config, images = config_of(case, 1, precision), random_images(case, classes=64, per_class=40)
        return of_config(config, case, *images, world).whole_step
    device = choose_device(Runtime(device="cpu", precision=precision), world)
    return real_step(case, device)


def counted(collective: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    """The same, which adds up what it costs."""

    def call(*args: Any, **more: Any) -> Any:
        start = time.perf_counter()
        result = collective(*args, **more)
        spent["waiting"] += time.perf_counter() - start
        sent: Tensor = next(a for a in reversed(args) if isinstance(a, Tensor))
        spent["calls"] += 1
        spent["bytes"] += sent.nbytes
        return result

    return call


def main(job: str) -> None:
    """A job of `timed`. Its world does not outlive it: threads of gloo must end before the interpreter."""
    stage, number, precision, steps = json.loads(job)
    with joined_world("cpu") as world:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        result = measured(stage, [*CASES, *TINY][number], precision, steps, world)
        if world.first:
            sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
