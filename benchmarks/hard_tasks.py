"""What hard tasks cost: draws and updates of the weights of many units, and what the ledger takes."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import Row, Work, median_seconds, paired
from mtl.config.hard_tasks import Boosting
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.episodes.pairs import pair_count
from mtl.ledger.store import Ledger
from mtl.runtime.devices import keep_freed_memory
from mtl.runtime.seeds import generator
from mtl.samplers.boosted_pool import PairUnits, TaskUnits, Units
from mtl.samplers.boosting import boost

KINDS = ("task", "class", "pair")
WAY, QUERIES, POOL, TASKS = 5, 15, 40, 4
AT_MOST_MS = 1.0
LOG_GROWTH = 1.67  # ln 100,000 / ln 1,000
OMNIGLOT = 4112  # classes of its training split, turned ones included: 8.45 million pairs
DRAWS = 100  # timed as one: a draw takes microseconds
MARGIN = 3.0  # of the right class's logit, in the episodes that the ledger takes


def rows(quick: bool) -> Iterator[Row]:
    """Draws and updates at U = 100,000 of each kind of unit, and one meta-batch into the ledger."""
    keep_freed_memory()  # as every stage does
    few, many = (100, 1000) if quick else (1000, 100_000)
    runs = 3 if quick else 60
    for kind in KINDS:
        small, large = boosted(kind, few), boosted(kind, many)
        taken = median_seconds(draws(large), runs) / DRAWS
        yield Row(f"{kind}: a draw of {many:,} units", 1e3 * taken, "ms", AT_MOST_MS, True)
        growth = paired(draws(large), draws(small), runs)
        what = f"{kind}: a draw of {many:,} units over one of {few:,}"
        yield Row(what, growth.ratio, "×", LOG_GROWTH, True, f"{DRAWS} draws: {growth}")
        for name, work in updates(large).items():
            taken = median_seconds(work, runs)
            yield Row(f"{kind}: update, {name}", 1e3 * taken, "ms", AT_MOST_MS, True)
    classes = 50 if quick else OMNIGLOT
    taken = median_seconds(draws(boosted("pair", pair_count(classes))), 3) / DRAWS
    yield Row(f"pair: a draw of those of {classes:,} classes", 1e3 * taken, "ms", AT_MOST_MS, True)
    yield ledger_row(20 if quick else 1000)


def boosted(kind: str, count: int) -> Units:
    """Some `count` units, with the weights of a few rounds."""
    units: Units
    if kind == "task":
        units = TaskUnits(torch.arange(count * WAY).view(-1, WAY))
    elif kind == "class":
        units = Units(count)
    else:
        units = PairUnits(round((2 * count) ** 0.5) + 1)  # about as many pairs
    weights = torch.full((len(units),), 1 / len(units), dtype=torch.float64)
    for number in range(5):
        weights = boost(weights, *all_errors(len(units), number), Boosting(), WAY).weights
    units.set_weights(weights)
    return units


def all_errors(units: int, number: int) -> tuple[Tensor, Tensor]:
    """Random errors (U,) of a round that visited every unit."""
    errors = torch.rand(units, dtype=torch.float64, generator=generator(0, "errors", number))
    return errors, torch.ones(units, dtype=torch.bool)


def draws(units: Units) -> Work:
    """DRAWS hard tasks, one after another."""
    random = generator(0, "draws")

    def work() -> None:
        for _ in range(DRAWS):
            units.draw(WAY, random)

    return work


def updates(units: Units) -> dict[str, Work]:
    """A round's errors, boosting, and what draws need of the new weights.

    Pools of tasks visit all of them; no pool is so large that it visits 100,000 classes or pairs, and so
    the errors are given where those are all visited.
    """
    weights = torch.full((len(units),), 1 / len(units), dtype=torch.float64)

    def after(errors: Callable[[], tuple[Tensor, Tensor]]) -> Work:
        return lambda: units.set_weights(boost(weights, *errors(), Boosting(), WAY).weights)

    if isinstance(units, TaskUnits):
        everything = solved(units.tasks)
        return {"all visited": after(lambda: units.errors(*everything))}
    some, given = solved(random_tasks(POOL, units.classes)), all_errors(len(units), 0)
    return {
        "all visited, errors given": after(lambda: given),
        f"a pool of {POOL} five-way tasks": after(lambda: units.errors(*some)),
    }


def random_tasks(tasks: int, classes: int, seed: int = 0) -> Tensor:
    """(T, N) classes."""
    random = generator(seed, "tasks")
    return torch.stack([torch.randperm(classes, generator=random)[:WAY] for _ in range(tasks)])


def solved(classes: Tensor) -> tuple[EpisodeBatch, Outcome]:
    """Tasks (T, N) and a random outcome."""
    tasks, way = classes.shape
    images = torch.zeros(tasks, way, 1, dtype=torch.int64)
    batch = EpisodeBatch(classes, images, images, ("meta-test",) * tasks, tuple(range(tasks)))
    random = generator(0, "outcome")
    recall = torch.rand(tasks, way, generator=random)
    confusion = torch.rand(tasks, way, way, generator=random)
    confusion /= confusion.sum(-1, keepdim=True)
    accuracy = recall.mean(1)
    return batch, Outcome(1 - accuracy, accuracy, recall, confusion)


def ledger_row(batches: int) -> Row:
    """Meta-batches of four episodes of 500 classes, into a ledger that has thousands of such episodes."""
    random = generator(0, "ledger")
    waiting: list[tuple[EpisodeBatch, Outcome]] = []
    for number in range(2 * batches):
        classes = random_tasks(TASKS, 500, number)
        images = torch.randint(0, 50_000, (TASKS, WAY, 1 + QUERIES), generator=random)
        index = tuple(range(number * TASKS, (number + 1) * TASKS))
        batch = EpisodeBatch(classes, images[..., :1], images[..., 1:], ("uniform",) * TASKS, index)
        logits = 2 * torch.randn(TASKS, WAY * QUERIES, WAY, generator=random)
        logits += MARGIN * torch.eye(WAY).repeat_interleave(QUERIES, 0)
        waiting.append((batch, Outcome.of(logits, WAY, QUERIES)))
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.sqlite") as ledger:

        def append() -> None:
            batch, outcome = waiting.pop()
            step = batch.index[0] // TASKS
            ledger.append("meta-train", 0, step, batch, outcome, "train")

        taken = median_seconds(append, batches, warm_up=batches)
    what = f"ledger: {TASKS} five-way episodes after {TASKS * batches:,} others"
    return Row(what, 1e3 * taken, "ms", None)
