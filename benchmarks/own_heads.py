"""What a published network gains by its head, and by fine-tuning, on pictures in folders.

python -m benchmarks.own_heads FOLDER --backbone timm.tf_efficientnet_lite0 --weights FILE --fine-tune

FOLDER has a folder of pictures for each class. A draw has some of the classes, a few pictures of each to
learn from and up to 40 others to classify. Prints a table as Markdown: the mean accuracy in %, and how far it
is above logistic regression, with 95 % intervals (Student's t over draws, paired).
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mtl.config import Backbone, Head, Log, Runtime
from mtl.data.picture_files import support_files
from mtl.data.prefetch import decode_ahead
from mtl.errors import UserError
from mtl.own_images.classifier import FittedClassifier, fit_classifier
from mtl.own_images.embedder import Embedder
from mtl.own_images.fine_tune import LEAST, fine_tuned
from mtl.own_images.published import HEADS, POWER, embedder_of, fit_with_chosen_head, published, settled
from mtl.own_images.support import Support
from mtl.runtime.seeds import generator
from mtl.stats import mean_interval

_TESTED = 40  # pictures of a class
_QUIET = Log(quiet=True)
#: Those that a support set chooses from, and one that none gets.
COMPARED = HEADS | {
    "gradient descent, 100 steps": Head(
        name="gradient_descent", power=POWER, map="shift", inner_steps=100, inner_lr=1.0
    )
}


class Draw(NamedTuple):
    """Pictures to learn from, and others of the same classes."""

    support: Support
    images: Tensor
    tested: Tensor
    labels: Tensor


def drawn(embedder: Embedder, folder: Path, way: int, shot: int, seed: int) -> Draw:
    """A draw of `seed`, its support pictures embedded."""
    random, files = generator(seed, "own heads"), support_files(folder).files
    names = [sorted(files)[place] for place in torch.randperm(len(files), generator=random).tolist()[:way]]
    support, tested, labels = list[Path](), list[Path](), list[int]()
    for label, name in enumerate(sorted(names)):
        of_class = [files[name][i] for i in torch.randperm(len(files[name]), generator=random).tolist()]
        support += of_class[:shot]
        tested += of_class[shot : shot + _TESTED]
        labels += [label] * len(of_class[shot : shot + _TESTED])
    images = _read(support, embedder)
    embedded = Support.of(embedder(images), [file.parent.name for file in support], [*map(str, support)])
    return Draw(embedded, images, _read(tested, embedder), torch.tensor(labels))


def _read(files: Sequence[Path], embedder: Embedder) -> Tensor:
    return torch.cat([batch.images for batch in decode_ahead(files, embedder.preparation.size, False)])


def accuracies(embedder: Embedder, draw: Draw, tune: bool) -> Mapping[str, float]:
    """The accuracy in % by what the network got; with `tune` also the seconds of fine-tuning."""
    raw = embedder(draw.tested)  # which heads transform

    def right(classifier: FittedClassifier, features: Tensor) -> float:
        return 100 * float((classifier.answer(features).classes() == draw.labels).double().mean())

    def headed(classifier: FittedClassifier) -> float:
        return right(classifier, classifier.embedder.base_learner.transform_features(raw))

    found = {
        name: headed(fit_classifier(*settled(embedder, head, draw.support)))
        for name, head in COMPARED.items()
    }
    frozen = fit_with_chosen_head(embedder, draw.support, _QUIET)
    found["chosen head"] = headed(frozen)
    if tune:
        begun = time.perf_counter()
        tuned = fine_tuned(embedder, draw.support, draw.images, frozen, _QUIET)
        seconds = time.perf_counter() - begun
        found["chosen head, fine-tuned"] = right(tuned.classifier, tuned.classifier.embedder(draw.tested))
        kept = "chosen head, fine-tuned" if tuned.helps else "chosen head"
        found["the same, unless left-out pictures show a loss"] = found[kept]
        found["seconds"] = seconds
    return found


def rows(embedder: Embedder, folder: Path, way: int, shot: int, draws: int, tune: bool) -> Iterator[str]:
    """Lines of a table, once all draws are done."""
    each = list[Mapping[str, float]]()
    for seed in range(draws):
        each.append(accuracies(embedder, drawn(embedder, folder, way, shot, seed), tune))
        sys.stderr.write(f"draw {seed + 1} of {draws}: {', '.join(f'{x:.1f}' for x in each[-1].values())}\n")
    yield f"| {way} classes of {shot} | accuracy, % | above logistic regression |\n|---|---:|---:|\n"
    first = [one[next(iter(COMPARED))] for one in each]
    for name in each[0]:
        values = [one[name] for one in each]
        mean, half = mean_interval([value - base for value, base in zip(values, first, strict=True)])
        above = "" if name == "seconds" else f"{mean:+.2f} ± {half:.2f}"
        yield f"| {name} | {sum(values) / draws:.1f} | {above} |\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.own_heads", description="Heads of own pictures."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone")
    parser.add_argument("--weights")
    parser.add_argument("--way", type=int, default=10)
    parser.add_argument("--shot", type=int, default=LEAST)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--fine-tune", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(arguments)
    try:
        backbone: Backbone = published(asked.backbone, asked.weights)
        embedder = embedder_of(backbone, Runtime(device="cpu", threads=asked.threads))
        for line in rows(embedder, asked.folder, asked.way, asked.shot, asked.draws, asked.fine_tune):
            sys.stdout.write(line)
    except UserError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
