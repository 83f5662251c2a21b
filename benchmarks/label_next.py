"""Labelling what the classifier asks for against labelling at random, as the area under the learning curve.

python -m benchmarks.label_next --run checkpoints/RUN --data-root data

Prints a table as Markdown: the mean accuracy in % on other images while labels are added, and by how much a
rule is above random, with 95 % intervals (Student's t over draws, paired). A draw has 10 novel classes, one
labelled image of each and a pool of others; five labels are added ten times. In an uneven pool the classes
have from 150 images down to 6.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.config import Runtime
from mtl.data import ImageSet, load_splits
from mtl.errors import UserError
from mtl.own_images.classifier import fit_classifier
from mtl.own_images.embedder import Embedder, embedder_of_run
from mtl.own_images.label_next import label_next
from mtl.own_images.support import Support
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.stats import mean_interval

STEP = 5
Rule = Callable[[Tensor, Tensor, Tensor, int, torch.Generator], list[int]]


def _random(p: Tensor, _: Tensor, __: Tensor, count: int, random: torch.Generator) -> list[int]:
    found: list[int] = torch.randperm(len(p), generator=random)[:count].tolist()
    return found


def _margin(p: Tensor, _: Tensor, __: Tensor, count: int, ___: torch.Generator) -> list[int]:
    """The least margins."""
    found: list[int] = _unsure(p).topk(min(count, len(p))).indices.tolist()
    return found


def _farthest(p: Tensor, features: Tensor, labelled: Tensor, count: int, _: torch.Generator) -> list[int]:
    """Uncertainty times the distance to the nearest image that is labelled or chosen."""
    unit, weight = F.normalize(features, dim=-1), _unsure(p)
    distance = (1 - unit @ F.normalize(labelled, dim=-1).T).amin(1)
    chosen: list[int] = []
    for _count in range(min(count, len(p))):
        chosen.append(int((weight * distance).argmax()))
        distance = torch.minimum(distance, 1 - unit @ unit[chosen[-1]])
    return chosen


def _unsure(p: Tensor) -> Tensor:
    most, second = p.topk(2).values.unbind(-1)
    return 1 - (most - second)


RULES: Mapping[str, Rule] = {
    "random": _random,
    "least margin": _margin,
    "margin × distance": _farthest,
    "label_next": lambda p, features, labelled, count, _: label_next(p, features, labelled, count),
}


def curve(
    embedder: Embedder, features: Tensor, labels: Tensor, rule: Rule, draw: "Draw", steps: int
) -> list[float]:
    """Accuracy before the first and after each step of five labels."""
    known, pool, random = list(draw.start), list(draw.pool), generator(draw.seed, "label next", "rule")
    accuracy: list[float] = []
    for step in range(steps + 1):
        names = [f"{label:04d}" for label in labels[known].tolist()]
        classifier = fit_classifier(embedder, Support.of(features[known], names, names))
        answers = [int(classifier.classes[k]) for k in classifier.answer(features[draw.test]).classes()]
        accuracy.append(100 * float((torch.tensor(answers) == labels[draw.test]).double().mean()))
        if step < steps and pool:
            p = classifier.answer(features[pool]).probabilities
            chosen = {pool[i] for i in rule(p, features[pool], features[known], STEP, random)}
            known, pool = known + sorted(chosen), [row for row in pool if row not in chosen]
    return accuracy


class Draw:
    """Rows of the images that one draw begins with, may ask for, and is judged by."""

    def __init__(self, labels: Tensor, way: int, uneven: bool, seed: int) -> None:
        random = generator(seed, "label next", "draw")
        self.seed, self.start, self.pool, self.test = seed, list[int](), list[int](), list[int]()
        classes = torch.randperm(int(labels.max()) + 1, generator=random)[:way].tolist()
        for place, label in enumerate(classes):
            rows = (labels == label).nonzero().flatten()
            mixed = rows[torch.randperm(len(rows), generator=random)].tolist()
            few = len(mixed) // 4
            most = round(few * 0.04 ** (place / max(1, len(classes) - 1))) if uneven else few // 2
            self.start.append(mixed[0])
            self.pool += mixed[1 : 1 + max(1, most)]
            self.test += mixed[-few // 2 :]


def rows(
    embedder: Embedder, images: ImageSet, way: int, draws: int, steps: int, seed: int
) -> Iterator[Sequence[str]]:
    """A head, and a row for each pool and rule."""
    features = torch.cat([embedder(part) for part in torch.split(images.images, 256)])
    yield "pool", "rule", "mean accuracy, %", "above random"
    for pool, uneven in (("even", False), ("uneven", True)):
        drawn = [Draw(images.labels, way, uneven, seed + number) for number in range(draws)]
        base: list[float] = []
        for name, rule in RULES.items():
            areas = []
            for draw in drawn:
                accuracy = curve(embedder, features, images.labels, rule, draw, steps)
                areas.append(sum(accuracy) / len(accuracy))
            base = base or areas
            gained, half = mean_interval([a - b for a, b in zip(areas, base, strict=True)])
            difference = f"{gained:+.1f} ± {half:.1f}" if rule is not _random else ""
            yield pool, name, f"{sum(areas) / len(areas):.1f}", difference


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.label_next", description="What to label.")
    parser.add_argument("--run", type=Path, required=True, help="folder of a run that is pretrained")
    parser.add_argument("--data-root", help="of its images, where they are not where its config says")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="whose classes are learned")
    parser.add_argument("--way", type=int, default=10)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10, help="of five labels each")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw")
    asked = parser.parse_args(arguments)
    try:
        config = RunFolder(asked.run).read_config()
        data = replace(config.data, root=asked.data_root or config.data.root, download=False)
        splits = load_splits(data, data.split_seed)
        embedder = embedder_of_run(asked.run, Runtime(device="cpu", threads=1))
    except UserError as error:
        parser.error(str(error))
    images = splits.val if asked.split == "val" else splits.test
    table = rows(embedder, images, asked.way, asked.draws, asked.steps, asked.seed)
    for number, cells in enumerate(table):
        rule = "|---|---|---:|---:|\n" if number == 0 else ""
        sys.stdout.write(f"| {' | '.join(cells)} |\n{rule}")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
