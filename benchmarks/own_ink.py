"""Drawings as pictures of many kinds: how many answers are wrong with and without the rule on ink.

python -m benchmarks.own_ink --run checkpoints/RUN --root data --characters test
python -m benchmarks.own_ink --run checkpoints/RUN --root data --characters val --rules on frame-never

Prints a table as Markdown: wrong answers in % with 95 % intervals (Student's t over tasks) of one-shot tasks
within alphabets. Both the pictures to learn from and those to be named are of the kind of the row. All rules
and rows have the same tasks. What is to be chosen is chosen on validation characters.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.ink_kinds import KINDS, Floats, drawing_of
from mtl.config import Runtime
from mtl.data import ImageSet, load_splits
from mtl.data.decode import upright
from mtl.data.ink import Ink, strokes
from mtl.data.own_picture import prepare_picture
from mtl.errors import UserError
from mtl.own_images.classifier import fit_classifier
from mtl.own_images.embedder import Embedder, Preparation, embedder_of_run
from mtl.own_images.support import Support
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import derive_seed, generator
from mtl.stats import mean_interval

PLAIN = Runtime(device="cpu", threads=1)
MUCH = 0.25  # of the set's median: by more the size of ink differs much

Rule = Callable[[Image.Image, Preparation, Ink], Ink | None]  # the ink that a picture is brought to


@dataclass(frozen=True)
class Task:
    """A drawing of each class to learn from, and another one to be named."""

    learned: tuple[Path, ...]
    asked: tuple[Path, ...]


def tasks(images: ImageSet, roots: Sequence[Path], way: int, count: int, seed: int) -> list[Task]:
    """One-shot tasks of `way` random classes of one random group; groups with fewer are left out.

    All drawings to learn from have one place in their classes, and so have those to be named: in Omniglot,
    they are by two people.

    Raises:
        UserError: files are not below any of `roots`, or no group has that many classes.
    """
    files = _files_of_classes(images, roots)
    groups = images.groups or ("",) * images.num_classes
    members = {g: [c for c, of in enumerate(groups) if of == g] for g in sorted(set(groups))}
    large = [classes for classes in members.values() if len(classes) >= way]
    if not large:
        raise UserError(f"--way: {way} classes, but the largest group has {max(map(len, members.values()))}")
    random, found = generator(seed, "own ink"), []
    for _ in range(count):
        classes = large[int(torch.randint(len(large), (), generator=random))]
        chosen = [classes[i] for i in torch.randperm(len(classes), generator=random)[:way].tolist()]
        fewest = min(len(files[c]) for c in chosen)
        one, other = torch.randperm(fewest, generator=random)[:2].tolist()
        found.append(Task(tuple(files[c][one] for c in chosen), tuple(files[c][other] for c in chosen)))
    return found


def wrong(
    embedder: Embedder, kind: str, rules: Sequence[str], asked: Sequence[Task], seed: int
) -> list[list[float]]:
    """Of each rule, the percentage of wrong answers in each task."""
    found: list[list[float]] = [[] for _ in rules]
    for task in asked:
        files = (*task.learned, *task.asked)
        pictures = [upright(picture(file, kind, seed)) for file in files]
        for rule, errors in zip(rules, found, strict=True):
            features = embedder(torch.stack([as_seen(p, embedder.preparation, rule) for p in pictures]))
            errors.append(_error(embedder, features))
    return found


def picture(file: Path, kind: str, seed: int) -> Image.Image:
    """A drawing of an image set as a picture of a kind; a pure function of its file's name."""
    random = np.random.default_rng(derive_seed(seed, "own ink", kind, file.name))
    with Image.open(file) as image:
        drawing: Floats = drawing_of(image)
    return KINDS[kind][1](drawing, random)


def as_seen(image: Image.Image, how: Preparation, rule: str) -> Tensor:
    """(channels, size, size) uint8 what the network gets of a picture under a rule."""
    assert how.ink is not None
    return prepare_picture(image, how.size, how.grayscale, RULES[rule](image, how, how.ink), how.top)[0]


def table(
    embedder: Embedder, kinds: Sequence[str], rules: Sequence[str], asked: Sequence[Task], seed: int
) -> Iterator[Sequence[str]]:
    """A head, a row for each kind, and their mean; from the second rule on, the difference to the first."""
    first, *others = rules
    yield "kind", first, *(name for rule in others for name in (rule, f"{rule} − {first}"))
    seen: list[list[list[float]]] = []
    for kind in kinds:
        seen.append(wrong(embedder, kind, rules, asked, seed))
        yield KINDS[kind][0], *_cells(seen[-1])
    yield "mean of these", *_cells(np.mean(seen, 0).tolist())


def _cells(errors: Sequence[Sequence[float]]) -> Iterator[str]:
    yield _with_interval(errors[0], "")
    for later in errors[1:]:
        yield _with_interval(later, "")
        yield _with_interval([a - b for a, b in zip(later, errors[0], strict=True)], "+")


def _with_interval(values: Sequence[float], sign: str) -> str:
    mean, half = mean_interval(values)
    return f"{mean:{sign}.1f} ± {half:.1f}"


def _error(embedder: Embedder, features: Tensor) -> float:
    """Percentage of wrong answers where the second half of features is to be told apart by the first."""
    learned, asked = features.chunk(2)
    names = [f"{c:03d}" for c in range(len(learned))]
    answers = fit_classifier(embedder, Support.of(learned, names, names)).answer(asked).classes()
    return 100 * float((answers != torch.arange(len(learned))).double().mean())


def _files_of_classes(images: ImageSet, roots: Sequence[Path]) -> list[list[Path]]:
    if not images.files:
        raise UserError("the images of this run are drawn, not read from files; take a run on Omniglot")
    root = next((r for r in roots if (r / images.files[0]).is_file()), None)
    if root is None:
        raise UserError(f"--root: {images.files[0]} is not below {roots[0]}; name the run's data.root")
    found: list[list[Path]] = [[] for _ in range(images.num_classes)]
    for file, label in zip(images.files, images.labels.tolist(), strict=True):
        found[label].append(root / file)
    return found


def _off(_: Image.Image, __: Preparation, ___: Ink) -> None:
    """Pictures are scaled and nothing else."""


def _on(_: Image.Image, __: Preparation, ink: Ink) -> Ink:
    """As `predict` does."""
    return ink


def _unsized(_: Image.Image, __: Preparation, ink: Ink) -> Ink:
    """As `predict` does after training on images whose files have no common size."""
    return replace(ink, sides=())


def _never_framed(image: Image.Image, _: Preparation, ink: Ink) -> Ink:
    """The middle square, of whatever size."""
    return ink if image.size in {(side, side) for side in ink.sides} else replace(ink, sides=())


def _framed_where_differing(image: Image.Image, how: Preparation, ink: Ink) -> Ink:
    """Framed only where the ink of the middle square is of another size than the set's, by a quarter."""
    unframed = _never_framed(image, how, ink)
    found = strokes(prepare_picture(image, how.size, how.grayscale, unframed, how.top)[0][None])
    much = abs(float(found.extent) / ink.extent[1] - 1) > MUCH
    return ink if much or not int(found.side) else unframed


def _with_slack(base: Rule, ground: float = Ink.ground_slack, contrast: float = Ink.contrast_slack) -> Rule:
    class Slack(Ink):
        ground_slack, contrast_slack = ground, contrast

    def rule(image: Image.Image, how: Preparation, ink: Ink) -> Ink:
        chosen = base(image, how, ink)
        assert chosen is not None
        return Slack(**vars(chosen))

    return rule


RULES: Mapping[str, Rule] = {
    "off": _off,
    "on": _on,
    "frame-differing": _framed_where_differing,
    "frame-never": _never_framed,
    "ground-0": _with_slack(_on, ground=0),
    "ground-20": _with_slack(_on, ground=20),
    "ground-60": _with_slack(_on, ground=60),
    "unsized": _unsized,
    "unsized-ground-0": _with_slack(_unsized, ground=0),
    "unsized-ground-20": _with_slack(_unsized, ground=20),
    "unsized-ground-60": _with_slack(_unsized, ground=60),
    "unsized-contrast-0.5": _with_slack(_unsized, contrast=0.5),
    "unsized-contrast-1": _with_slack(_unsized, contrast=1),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_ink", description="Ink and paper")
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run")
    parser.add_argument("--root", help="of its images, where they are not where its config says")
    parser.add_argument("--characters", choices=("val", "test"), default="val", help="split of the run")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=["off", "on"], metavar="RULE")
    parser.add_argument("--way", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=40, help="for each row")
    parser.add_argument("--seed", type=int, default=0, help="of tasks and noise")
    asked = parser.parse_args(arguments)
    try:
        embedder, drawn = prepared(asked)
    except UserError as error:
        parser.error(str(error))
    for number, cells in enumerate(table(embedder, asked.kinds, asked.rules, drawn, asked.seed)):
        rule = "|---|" + "---:|" * (len(cells) - 1) + "\n" if number == 0 else ""
        sys.stdout.write(f"| {' | '.join(cells)} |\n{rule}")
        sys.stdout.flush()
    return 0


def prepared(asked: argparse.Namespace) -> tuple[Embedder, list[Task]]:
    """The network of a run, and tasks of the split that is asked for.

    Raises:
        UserError: the training images of the run share no ink; or as of `tasks`, `load_splits` and
            `embedder_of_run`.
    """
    config = RunFolder(asked.run).read_config()
    data = replace(config.data, root=asked.root or config.data.root, download=False)
    embedder = embedder_of_run(asked.run, PLAIN)
    if embedder.preparation.ink is None:
        raise UserError(f"{asked.run}: its training images share no ink, so that there is no rule to measure")
    splits = load_splits(data, data.split_seed)
    images = splits.val if asked.characters == "val" else splits.test
    roots = [Path(data.root), Path(data.root) / data.name]
    return embedder, tasks(images, roots, asked.way, asked.tasks, asked.seed)


if __name__ == "__main__":
    sys.exit(main())
