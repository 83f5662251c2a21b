"""Image sets that are larger than the memory: decoding, and training on images that stay in a file.

python -m benchmarks large_set
python -m benchmarks.large_set FOLDER 30    # trains on a file of 30 GB, which it writes into the folder
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Self

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from benchmarks.harness import Row, paired, seconds
from benchmarks.pretraining import BATCH, real_step
from benchmarks.workload import TINY, Case
from mtl.config import Augment, Log, Runtime
from mtl.data.decode import White, decode_files
from mtl.data.pixel_file import PixelWriter, Shape, mapped
from mtl.runtime.devices import choose_device
from mtl.runtime.progress import Count
from mtl.runtime.seeds import generator

PROJECT = Path(__file__).parents[1]
SIZE, SHAPE = 84, (3, 84, 84)
DECODING, MEMORY, THROUGHPUT = 1.1, 4.0, 0.95
CASE = Case("Conv4", "conv4", 3, SIZE, Augment(crop=8, flip=True), 5, ("float32",))


def rows(quick: bool) -> Iterator[Row]:
    """Decoding against Pillow alone; training on a mapped set against one in memory; resident memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photographs(folder, 20 if quick else 1000)
        yield decoding(files, folder / "decoded.pixels", pairs=1 if quick else 5)
        case, gigabytes, steps = (TINY[0], 0.001, 1) if quick else (CASE, 1.27, 20)
        for what, value in in_a_process(folder, gigabytes, steps, case.size).items():
            label = f"{case}, a mapped set of {gigabytes:g} GB: {what}"
            if what == "images/s over those of a set in memory":
                yield Row(label, value, "×", THROUGHPUT, False)
            else:
                yield Row(label, value, "GB", MEMORY if "anonymous" in what else None, True)


def photographs(folder: Path, count: int) -> list[Path]:
    """JPEG files as ImageNet has them: 500×375 pixels, 110 kB."""
    random = np.random.default_rng(0)
    files = [folder / f"{i:05d}.jpg" for i in range(count)]
    for file in files:
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), dtype=float)
        noisy = (pixels + random.normal(0, 18, (375, 500, 1))).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(file, quality=92)
    return files


def decoding(files: Sequence[Path], into: Path, pairs: int) -> Row:
    """Files to pixels on disk, over Pillow alone in a process for each core, which keeps nothing."""
    cores = len(os.sched_getaffinity(0))

    def ours() -> None:
        into.unlink(missing_ok=True)
        with Count("decoding", len(files), Log(quiet=True)) as count:
            decode_files(files, SHAPE, White(files), count, into)

    with ProcessPoolExecutor(cores, multiprocessing.get_context("fork")) as pool:
        found = paired(ours, lambda: list(pool.map(alone, [files[i::cores] for i in range(cores)])), pairs)
    note = f"{1e3 * found.a / len(files):.2f} ms a picture, {cores} cores: {found}"
    return Row("500×375 JPEG to 84×84 on disk, over Pillow alone", found.ratio, "×", DECODING, True, note)


def alone(files: Sequence[Path]) -> None:
    """What Pillow does for a file, and nothing else."""
    for file in files:
        with Image.open(file) as image:
            image.draft(None, (2 * SIZE, 2 * SIZE))
            np.array(ImageOps.fit(image.convert("RGB"), (SIZE, SIZE), Image.Resampling.LANCZOS))


def in_a_process(folder: Path, gigabytes: float, steps: int, size: int) -> dict[str, float]:
    """`trained` in a process of its own. Raises RuntimeError with its last words where it fails."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.large_set",
        str(folder),
        str(gigabytes),
        str(steps),
        str(size),
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def trained(folder: Path, gigabytes: float, steps: int = 100, size: int = SIZE) -> dict[str, float]:
    """Steps of pretraining on a mapped set, each beside one on as many images as fit into the memory."""
    case = CASE if size == SIZE else TINY[0]
    images = noise(folder / f"noise-{size}.pixels", gigabytes, (3, size, size))
    device = choose_device(Runtime(device="cpu", precision="float32"))
    peak = Peak()
    mapped_step = real_step(case, device, images)
    mapped_step()
    with peak:
        alone = seconds(lambda: [mapped_step() for _ in range(steps)])
    few = images[: 2 * 10**9 // images[0].nbytes].clone()
    found = paired(real_step(case, device, few), mapped_step, steps)
    sys.stderr.write(f"{steps * BATCH / alone:.0f} images/s, mapped; in memory over mapped: {found}\n")
    return {
        "images/s over those of a set in memory": found.ratio,
        "anonymous memory in training": peak.most["RssAnon"],
        "pages of files in training": peak.most["RssFile"],
    }


def noise(path: Path, gigabytes: float, shape: Shape) -> Tensor:
    """Random images, 2,048 different ones, written to a file if it is not there."""
    count = int(gigabytes * 1e9 / np.prod(shape))
    block = torch.randint(0, 256, (2048, *shape), dtype=torch.uint8, generator=generator(0, "noise"))
    if not path.exists() or path.stat().st_size != count * np.prod(shape):
        with PixelWriter(path, shape) as out:
            for first in range(0, count, len(block)):
                out.append(block[: count - first])
    return mapped(path, shape)


class Peak:
    """The most that a process held, in GB, of memory of its own and of pages of files, while it ran."""

    def __init__(self) -> None:
        self.most = {"RssAnon": 0.0, "RssFile": 0.0}
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            held = dict(line.split(":", 1) for line in lines)
            for kind, most in self.most.items():
                self.most[kind] = max(most, int(held[kind].split()[0]) * 1024 / 1e9)
            time.sleep(0.05)


if __name__ == "__main__":
    place, of, *more = sys.argv[1:]
    sys.stdout.write(json.dumps(trained(Path(place), float(of), *map(int, more))))
