"""Starting: the help text, which needs no torch, and opening a set that was decoded before.

Opening is what a run does first: every file of the set is looked at, its decoded images are mapped, and their
mean and deviation read. Real sets below $MTL_DATA_ROOT are opened too, where there are any.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.harness import Row, median_seconds, seconds, told
from mtl.config import Data, to_dict
from mtl.data import load_splits
from mtl.data.decode import DecodedFiles
from mtl.data.pixel_file import Shape
from mtl.runtime.seeds import generator

PROJECT = Path(__file__).parents[1]
CLASSES = {"train": 64, "val": 16, "test": 20}
HELP, OPENING = 0.3, 1.0  # seconds that they may take
REAL = {  # by the folder that has to be there
    "omniglot": Data(name="omniglot", rotations=True, download=False),
    "cifar100": Data(name="cifar_fs", download=False),
}
#: A program: opens the set of a section `data`, given as JSON; prints the seconds of its imports on stderr.
OPEN_ONCE = """
import json, sys, time
start = time.perf_counter()
from mtl.config import read_config
from mtl.data.sources import image_folder
from mtl.data import load_splits
sys.stderr.write(str(time.perf_counter() - start))
config = read_config({"data": json.loads(sys.argv[1])}, "benchmark")
load_splits(config.data, 0).train.mean_std()
"""


def rows(quick: bool) -> Iterator[Row]:
    """Seconds of the help text, of opening a set, and of a process that does no more than that."""
    bare = median_seconds(lambda: python("-c", "pass"), 1 if quick else 5)
    took = median_seconds(lambda: python("run_meta.py", "--help"), 1 if quick else 7)
    yield Row("run_meta.py --help", took, "s", HELP, True, f"{told(bare)} of it Python itself")
    yield torch_in("run_meta.py", "--help")

    with tempfile.TemporaryDirectory() as folder:
        data = Data(name="image_folder", root=folder, image_size=16 if quick else 32, duplicates="keep")
        count = write_files(Path(folder), per_class=6 if quick else 600)
        with patch("mtl.data.decoded_set.decode_files", drawn):
            stored = seconds(lambda: load_splits(data, 0))
        yield opening(
            data, f"{count:,} images of {data.image_size}×{data.image_size}, stored in {told(stored)}"
        )
        yield fresh(data, runs=1 if quick else 3)
    root = os.environ.get("MTL_DATA_ROOT")
    for name, which in REAL.items():
        if root and not quick and Path(root, name).is_dir():
            yield opening(replace(which, root=root), "real images")


def python(*arguments: str) -> str:
    """What Python says on stderr, started with these arguments. Raises CalledProcessError where it fails."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stderr


def torch_in(*arguments: str) -> Row:
    """How many modules of torch a command imports."""
    times = python("-X", "importtime", *arguments).splitlines()
    names = [line.rpartition("|")[2].strip() for line in times if line.startswith("import time:")]
    heavy = [name for name in names if name.partition(".")[0] == "torch"]
    return Row("modules of torch that it imports", len(heavy), "modules", 0, True, f"{len(names)} in all")


def opening(data: Data, note: str) -> Row:
    """Seconds from a config to images and their mean, in a process that has opened the set before."""

    def load() -> None:
        load_splits(data, 0).train.mean_std()

    return Row(f"opening {data.name}", median_seconds(load, 7), "s", OPENING, True, note)


def fresh(data: Data, runs: int) -> Row:
    """Seconds of a process that opens the set and ends."""
    told_by: list[str] = []
    section = json.dumps(to_dict(data))
    took = median_seconds(lambda: told_by.append(python("-c", OPEN_ONCE, section)), runs, warm_up=0)
    imports = told(statistics.median(map(float, told_by)))
    return Row("the same in a fresh process", took, "s", None, note=f"{imports} of it imports")


def write_files(root: Path, per_class: int) -> int:
    """Files that nobody will decode, at `<root>/{train,val,test}/<class>/`; how many.

    Those of a class are one file under many names, which is written many times as fast.
    """
    for part, classes in CLASSES.items():
        for c in range(classes):
            folder = root / part / f"{part} {c:02d}"
            folder.mkdir(parents=True)
            (folder / "0.jpg").write_bytes(b"jpg")
            for i in range(1, per_class):
                os.link(folder / "0.jpg", folder / f"{i}.jpg")
    return sum(CLASSES.values()) * per_class


def drawn(files: Sequence[Path], shape: Shape, *_: object) -> DecodedFiles:
    """Noise in the place of what `decode_files` would read; many images are the same."""
    noise = torch.randint(0, 256, (600, *shape), dtype=torch.uint8, generator=generator(0, "noise"))
    return DecodedFiles(noise[torch.arange(len(files)) % 600], {}, ([0.5] * 3, [0.25] * 3))
