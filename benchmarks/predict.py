"""Answering own pictures: what it takes beside the forward pass, and how soon the first answer is there."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.harness import Row, median_seconds, paired, told
from benchmarks.ink_kinds import KINDS, drawing_of
from mtl.config import Backbone, Config, Data, Pretrain, Runtime
from mtl.data.augment import Normalise
from mtl.data.ink import Ink
from mtl.data.own_picture import own_picture
from mtl.data.prefetch import decode_ahead
from mtl.models.backbones import build_backbone
from mtl.own_images.answers import rows as rows_of
from mtl.own_images.classifier import FittedClassifier
from mtl.own_images.fit import fit_network
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator

PROJECT = Path(__file__).parents[1]
WAY, SHOT, AT_ONCE = 5, 5, 32
PICTURES, PARTS = 1000, 4  # they are timed in parts, in turn with the bare pass over the same ones
MOST, SOON = 1.1, 3.0  # times the bare pass; seconds
NAMES: dict[int, Literal["conv4", "resnet12"]] = {16: "conv4", 84: "resnet12"}


def rows(quick: bool) -> Iterator[Row]:
    """From files to answers over a bare pass of the same images; with the rule on ink; one picture."""
    size, count, parts = (16, 24, 1) if quick else (84, PICTURES, PARTS)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        lay_out(home, size, count // parts)
        run = untrained_run(home, NAMES[size], size)
        found = paired(
            *streamed_and_bare(fit_network(run, home / "things").classifier, home / "new", size), parts
        )
        what = f"{count:,} pictures of {size}×{size}, {NAMES[size]}: files to answers over a bare pass"
        yield Row(what, found.ratio, "×", None if quick else MOST, True, f"{parts} parts: {found}")
        yield from ink_rows(home, 6 if quick else 100, 1 if quick else 5)
        small = untrained_run(home, "conv4", 16 if quick else 32)
        yield first_answer(small, home, runs=1 if quick else 5)


def lay_out(home: Path, size: int, count: int) -> None:
    """`things/<class>/*.jpg` and `new/*.jpg`: random spots of colour, which JPEG holds well."""
    random = generator(0, "pictures")
    folders = [home / "things" / f"class {c}" for c in range(WAY) for _ in range(SHOT)]
    for i, folder in enumerate(folders + [home / "new"] * count):
        folder.mkdir(parents=True, exist_ok=True)
        spots = F.interpolate(torch.rand(1, 3, 8, 8, generator=random), (size, size), mode="bilinear")[0]
        pixels = (255 * spots).to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{i:04d}.jpg", quality=90)


def untrained_run(home: Path, name: Literal["conv4", "resnet12"], size: int) -> Path:
    """The folder of a run whose backbone has random weights: they take as long as others."""
    config = Config(
        run=f"{name}-{size}",
        checkpoints=str(home),
        data=Data(name="image_folder", root=str(home), image_size=size),
        backbone=Backbone(name=name),
        pretrain=Pretrain(epochs=1),
        runtime=Runtime(device="cpu"),
    )
    folder = RunFolder.of(config)
    folder.write_config(config)
    backbone = build_backbone(config.backbone, 3, size, generator(0, "backbone"))
    payload = checkpoints.header(config, "pretrain", ()) | {
        "backbone": backbone.state_dict(),
        "normalise": {"mean": [0.5] * 3, "std": [0.25] * 3},
        "images": {"size": size, "channels": 3, "levels": None, "ink": None},
    }
    checkpoints.write(folder.pretrain, payload)
    return folder.path


def streamed_and_bare(
    fitted: FittedClassifier, folder: Path, size: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    """What `predict` does with files, and the backbone alone on their normalised pixels, which are there."""
    files = sorted(folder.iterdir())
    embedder = fitted.embedder
    normalise = Normalise(embedder.preparation.mean, embedder.preparation.std)
    batches = [normalise(batch.images) for batch in decode_ahead(files, size, False, AT_ONCE)]

    def streamed() -> Sequence[object]:
        found: list[object] = []
        for batch in decode_ahead(files, size, False, AT_ONCE):
            found += rows_of(batch.files, fitted.answer(embedder(batch.images)), fitted.classes)
        return found

    @torch.no_grad()
    def bare() -> list[Tensor]:
        embedder.learner.eval()
        return [embedder.device.forward(embedder.learner.backbone, batch) for batch in batches]

    return streamed, bare


def ink_rows(home: Path, count: int, pairs: int) -> Iterator[Row]:
    """Drawings read, one by one in this thread, and answered by Conv4: with the rule on ink over without."""
    ink = Ink(True, (0, 0, 0), (32, 255, 255), 78, (0.1, 0.64, 1), sides=(28, 105))
    fitted = fit_network(untrained_run(home, "conv4", 28), home / "things").classifier
    for kind, ending, what in (
        ("dark", "png", "black on white, 105×105, PNG"),
        ("photo", "jpg", "photographs of paper, 500×500, JPEG"),
    ):
        files = draw(home / kind, kind, ending, count)
        read = [partial(read_alone, files, ink), partial(read_alone, files, None)]
        answered = [partial(answered_in_turn, fitted, files, rule) for rule in (ink, None)]
        for done, (a, b) in (("read, one thread", read), ("files to answers, Conv4 28×28", answered)):
            found = paired(a, b, pairs)
            note = f"{count / found.a:,.0f} files/s over {count / found.b:,.0f}, in {pairs} pairs: {found}"
            yield Row(
                f"{what}, {done}: with the rule on ink over without", found.ratio, "×", None, True, note
            )


def draw(folder: Path, kind: str, ending: str, count: int) -> list[Path]:
    """Files of random strokes as pictures of a kind."""
    folder.mkdir()
    random, files = np.random.default_rng(0), []
    for i in range(count):
        drawing = Image.new("L", (105, 105))
        ImageDraw.Draw(drawing).line(random.integers(20, 85, 8).tolist(), 255, 3)
        files.append(folder / f"{i:04d}.{ending}")
        KINDS[kind][1](drawing_of(drawing), random).save(files[-1])
    return files


def read_alone(files: Sequence[Path], ink: Ink | None) -> None:
    for file in files:
        own_picture(file, 28, True, ink)


def answered_in_turn(fitted: FittedClassifier, files: Sequence[Path], ink: Ink | None) -> None:
    for batch in decode_ahead(files, 28, False, AT_ONCE, ink=ink):
        rows_of(batch.files, fitted.answer(fitted.embedder(batch.images)), fitted.classes)


def first_answer(run: Path, home: Path, runs: int) -> Row:
    """Seconds from the start of a process to the table of one picture; 5 classes of 5 are learned."""
    out, query = home / "answer.csv", min((home / "new").iterdir())
    paths = ["--run", run, "--support", home / "things", "--query", query, "--out", out]
    command = [sys.executable, "run_meta.py", "predict", "--overwrite", "-q", *map(str, paths)]
    there: list[float] = []
    ended: list[float] = []

    def once() -> None:
        out.unlink(missing_ok=True)
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
        while process.poll() is None and not out.exists():
            time.sleep(0.002)
        there.append(time.perf_counter() - start)
        if process.wait():
            raise RuntimeError("predict failed")
        ended.append(time.perf_counter() - start)

    bare = [sys.executable, "-c", "import torch"]
    torch_alone = median_seconds(lambda: subprocess.run(bare, check=True), runs, warm_up=0)
    for _ in range(runs):
        once()
    took, all_of_it = (statistics.median(times) for times in (there, ended))
    note = f"import torch alone {told(torch_alone)}; with the page {told(all_of_it)}"
    return Row("first answer, from the start of the process", took, "s", SOON, True, note)
