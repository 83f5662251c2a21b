"""Probabilities and estimates for a person's own images, compared with the truth.

python -m benchmarks.own_images calibration --run checkpoints/cifar_fs
python -m benchmarks.own_images open_set --run checkpoints/cifar_fs --novel --data-root data

Prints a table as Markdown. Each row fits a classifier to each of many tasks of the validation classes, or of
the novel ones, as `predict` does. Where the run has no calibration.json, it is measured first.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from mtl.config import Runtime
from mtl.data import ImageSet
from mtl.data.near_copies import Prints
from mtl.evaluation.calibrate import some_of_each, temperatures
from mtl.own_images.classifier import FittedClassifier, fit_classifier
from mtl.own_images.embedder import Embedder, embedder_of_run
from mtl.own_images.self_assessment import SelfAssessment, self_assessment
from mtl.own_images.support import Support
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training.run_data import load_run_data

PLAIN = Runtime(device="cpu", threads=1)
IMAGES = 200  # of a class that are embedded
QUERIES = 30  # of each class, where the accuracy of a single task is not asked
LEAST = 5  # images of a class are left to be asked
UNEQUAL = 20  # images of the largest class where numbers are unequal: 1 to so many, small ones as likely
OTHERS = 5  # classes that queries of no known class come from
BINS = 15


@dataclass(frozen=True, eq=False)
class Classes:
    """Embedded images of classes that nothing was trained on."""

    embedder: Embedder
    features: Tensor  # (R, D)
    labels: Tensor  # (R,)
    prints: Prints  # (R,)

    @property
    def count(self) -> int:
        return int(self.labels.max()) + 1

    @property
    def fewest(self) -> int:
        """Images of the smallest class."""
        return int(torch.bincount(self.labels).min())


@dataclass(frozen=True, eq=False)
class Task:
    """A fitted classifier, and queries that it has never seen."""

    fitted: FittedClassifier
    queries: Tensor  # (B, D)
    labels: Tensor  # (B,)
    others: Tensor  # (M, D) of classes that it does not know


def classes_of(run: Path, root: str | None, novel: bool) -> Classes:
    """Embeds up to 200 images of each validation or novel class of a run."""
    config = RunFolder(run).read_config()
    config = replace(config, data=replace(config.data, root=root or config.data.root), runtime=PLAIN)
    run_data, embedder = load_run_data(config), embedder_of_run(run, PLAIN)
    if not embedder.temperatures:
        known = temperatures(config, run_data, choose_device(PLAIN), embedder.learner)
        embedder = replace(embedder, temperatures=tuple(known.items()))
    images: ImageSet = run_data.splits.test if novel else run_data.splits.val
    rows = some_of_each(images.labels, IMAGES, generator(0, "own images"))
    pixels = [torch.as_tensor(images.images[part]) for part in torch.split(rows, 500)]
    features, prints = torch.cat([embedder(part) for part in pixels]), [Prints.of(part) for part in pixels]
    return Classes(embedder, features, images.labels[rows], Prints.joined(prints))


def tasks(
    classes: Classes,
    way: int,
    shot: int | None,
    count: int,
    queries: int,
    others: int = 0,
    wrong: bool = False,
) -> Iterator[Task]:
    """Tasks of random classes.

    Args:
        classes: that they are drawn from.
        way: classes of a task.
        shot: support images of each; None: 1 to 20, each its own number.
        count: how many tasks.
        queries: of each class at most.
        others: classes besides, images of which are asked as well.
        wrong: one support image has the label of another class; it is the first one.
    """
    random = generator(0, "own images", way, shot or 0)
    most = min(UNEQUAL, classes.fewest - LEAST)
    for _ in range(count):
        chosen = torch.randperm(classes.count, generator=random)[: way + others].tolist()
        supported, labels, asked = [], list[int](), []
        for place, label in enumerate(chosen):
            rows = (classes.labels == label).nonzero().flatten()
            rows = rows[torch.randperm(len(rows), generator=random)]
            number = shot or int((most + 1) ** float(torch.rand((), generator=random)))
            number = number if place < way else 0
            supported.append(rows[:number])
            labels += [place] * number
            asked.append(rows[number : number + queries])
        if wrong:
            labels[0] = 1 + int(torch.randint(way - 1, (), generator=random))
        rows = torch.cat(supported)
        names = [f"{label:03d}" for label in labels]
        files, prints = [str(row) for row in rows.tolist()], classes.prints.some(rows.tolist())
        support = Support.of(classes.features[rows], names, files, prints)
        query_labels = torch.cat([torch.full((len(rows),), k) for k, rows in enumerate(asked[:way])])
        known, unknown = torch.cat(asked[:way]), torch.cat([*asked[way:], torch.empty(0, dtype=torch.int64)])
        fitted = fit_classifier(classes.embedder, support)
        yield Task(fitted, classes.features[known], query_labels, classes.features[unknown])


def calibration(classes: Classes, count: int) -> Iterator[Sequence[object]]:
    """Expected calibration error and log loss, with T = 1 and with the temperature that was found."""
    yield (
        "way",
        "shot",
        "accuracy",
        "ECE, T = 1",
        "ECE",
        "log loss, T = 1",
        "log loss",
        "confidence − accuracy",
    )
    for way in (5, 10, 20):
        for shot in (1, 2, 5, 10, None):
            if not possible(classes, way, shot):
                continue
            plain, calibrated, labels = [], [], []
            for task in tasks(classes, way, shot, max(1, count * 5 // way), QUERIES):
                plain.append(replace(task.fitted, temperature=1.0).answer(task.queries).probabilities)
                calibrated.append(task.fitted.answer(task.queries).probabilities)
                labels.append(task.labels)
            before, after, right = torch.cat(plain), torch.cat(calibrated), torch.cat(labels)
            accuracy = float((after.argmax(-1) == right).double().mean())
            surplus = float(after.amax(-1).mean()) - accuracy
            errors = [calibration_error(p, right) for p in (before, after)]
            losses = [float(-p.gather(1, right[:, None]).log().mean()) for p in (before, after)]
            yield way, numbers(shot, classes), accuracy, *errors, *losses, f"{surplus:+.3f}"


def open_set(classes: Classes, count: int) -> Iterator[Sequence[object]]:
    """Queries of known classes and of five others: AUROC, and what is said at the threshold."""
    yield "way", "shot", "AUROC", "known called none", "others called none"
    for way in (5, 10, 20):
        for shot in (2, 5, 10, None):
            if not possible(classes, way + OTHERS, shot):
                continue
            found = []
            for task in tasks(classes, way, shot, count, QUERIES, OTHERS):
                if task.fitted.open_set is not None:
                    known, others = (task.fitted.open_set.none(x) for x in (task.queries, task.others))
                    alarms = ((p > 0.5).double().mean() for p in (known, others))
                    found.append(torch.stack([auroc(known, others), *alarms]))
            yield way, numbers(shot, classes), *torch.stack(found).mean(0).tolist()


def labels(classes: Classes, count: int) -> Iterator[Sequence[object]]:
    """One wrong label in a support set: how often that image is named, and how often a right one."""
    yield (
        "way",
        "shot",
        "images",
        "wrong one named",
        "right ones named",
        "named ones wrong",
        "named, none wrong",
    )
    for way in (5, 10):
        for shot in (3, 5, 10):
            if not possible(classes, way, shot):
                continue
            hits = false = idle = 0
            for task in tasks(classes, way, shot, count, 1, wrong=True):
                rows = [issue.row for issue in self_assessment(task.fitted).label_issues]
                hits, false = hits + (0 in rows), false + len(rows) - (0 in rows)
            for task in tasks(classes, way, shot, count, 1):
                idle += len(self_assessment(task.fitted).label_issues)
            right = false / (count * (way * shot - 1))
            named = hits / max(1, hits + false)
            yield way, shot, way * shot, hits / count, right, named, f"{idle / count:.2f} a task"


def accuracy(classes: Classes, count: int) -> Iterator[Sequence[object]]:
    """The estimated accuracy, the true one on all other images, and how often the interval contains it.

    Both leave out classes with one image, as `predict` does.
    """
    yield "way", "shot", "left out", "estimate", "true", "mean difference", "width", "interval contains it"
    for way in (5, 10, 20):
        for shot in (2, 3, 5, 10, 20, None):
            if not possible(classes, way, shot):
                continue
            found = []
            for task in tasks(classes, way, shot, max(1, count * 5 // way), IMAGES):
                one: SelfAssessment = self_assessment(task.fitted)
                if one.accuracy is not None:
                    tested = (task.fitted.views.counts() > 1)[task.labels]
                    right = task.fitted.answer(task.queries).classes() == task.labels
                    true = float(right[tested].double().mean())
                    holds = float(one.low <= true <= one.high)
                    off, width = abs(true - one.accuracy), one.high - one.low
                    found.append([one.right / one.tested, one.accuracy, true, off, width, holds])
            yield way, numbers(shot, classes), *torch.tensor(found, dtype=torch.float64).mean(0).tolist()


def possible(classes: Classes, way: int, shot: int | None) -> bool:
    return way <= classes.count and (shot or 0) + LEAST <= classes.fewest


def numbers(shot: int | None, classes: Classes) -> str:
    return str(shot) if shot else f"1 to {min(UNEQUAL, classes.fewest - LEAST)}"


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error of (B, N) over 15 bins of equal width (Guo et al., ICML 2017)."""
    confidence, answers = probabilities.max(-1)
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = confidence - (answers == labels).double()
    sums = torch.zeros(BINS, dtype=torch.float64).index_add_(0, place, gaps)
    return float(sums.abs().sum()) / len(labels)


def auroc(known: Tensor, others: Tensor) -> Tensor:
    """The share of pairs of one of each in which the other has the larger value; equals count half."""
    difference = others[:, None] - known
    return ((difference > 0).double() + 0.5 * (difference == 0).double()).mean()


TABLES = {"calibration": calibration, "open_set": open_set, "labels": labels, "outlook": accuracy}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_images", description="Promises, kept?")
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run that is trained")
    parser.add_argument("--data-root", help="of its images, where they are not where its config says")
    parser.add_argument("--novel", action="store_true", help="novel classes instead of validation classes")
    parser.add_argument("--tasks", type=int, default=200, help="of five classes, for each row")
    how = parser.parse_args(arguments)
    lines = TABLES[how.table](classes_of(how.run, how.data_root, how.novel), how.tasks)
    for number, cells in enumerate(lines):
        shown = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
        rule = "|" + "---:|" * len(cells) + "\n" if number == 0 else ""
        sys.stdout.write(f"| {' | '.join(shown)} |\n{rule}")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
