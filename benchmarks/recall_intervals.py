"""How often the 95 % intervals of recall hold the recall of very many tasks.

python -m benchmarks.recall_intervals --run checkpoints/quickstart

Prints a table as Markdown: evaluations of few and of many novel tasks, answered by the pretrained backbone's
prototypes, against 100,000 tasks of the same images. For comparison, Wilson's interval of all queries as if
they were independent.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtl.config import Runtime
from mtl.config.schema import Evaluate
from mtl.episodes.episode import EpisodeShape
from mtl.evaluation.baselines import Baseline, baselines
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.stats import recall_intervals, wilson
from mtl.training.restore import read_pretrained
from mtl.training.run_data import RunData, load_run_data

AT_ONCE = 2000
MANY = 100_000
TASKS = (2000, 300, 100)

Floats = NDArray[np.float64]


def rows(run: Path, root: str | None, many: int, evaluations: int) -> Iterator[tuple[str | int | float, ...]]:
    """A head, and a row for each setting of the run and number of tasks."""
    config = RunFolder(run).read_config()
    config = replace(
        config,
        data=replace(config.data, root=root or config.data.root),
        evaluate=replace(config.evaluate, baseline=False),
        runtime=Runtime(device="cpu", threads=1),
    )
    run_data, pretrained = load_run_data(config), read_pretrained(RunFolder(run), config)
    learner = baselines(config, run_data, choose_device(config.runtime), pretrained, None)[0]
    yield "way", "shot", "tasks", "of a class", "queries independent", "by task", "times as wide"
    for way, shot in config.evaluate.settings:

        def counted(tasks: int, seed: int, purpose: str, way: int = way, shot: int = shot) -> Floats:
            return counts(run_data, learner, config.evaluate, (way, shot), tasks, seed, purpose)

        long_run = np.sum([counted(AT_ONCE, number, "truth") for number in range(many // AT_ONCE)], 0)
        recall = long_run[2] / long_run[1]
        for tasks in TASKS:
            held, width = np.zeros(2), np.zeros(2)
            for number in range(evaluations):
                found = counted(tasks, number, "coverage")
                met = found[0] > 0
                drawn, queries, correct, squares = found[:, met]
                plain = np.array([wilson(x, n) for x, n in zip(correct, queries, strict=True)])
                ends = np.stack([plain, np.array(recall_intervals(drawn, queries, correct, squares))])
                held += ((ends[..., 0] <= recall[met]) & (recall[met] <= ends[..., 1])).mean(1) / evaluations
                width += (ends[..., 1] - ends[..., 0]).mean(1)
            yield way, shot, tasks, way * tasks / len(recall), *held.tolist(), float(width[1] / width[0])


def counts(
    run_data: RunData,
    learner: Baseline,
    how: Evaluate,
    setting: tuple[int, int],
    tasks: int,
    seed: int,
    purpose: str,
) -> Floats:
    """(4, C): tasks, queries, right answers and the sum of their squares over tasks, of each novel class."""
    episodes = run_data.fixed_episodes(
        how.split, EpisodeShape(*setting, how.queries), tasks, seed, purpose, how.within_group
    )
    right = (learner.solve(episodes).recall.double().flatten() * how.queries).round().numpy()
    classes, every = episodes.classes.flatten().numpy(), len(run_data.split(how.split).class_names)
    drawn, correct, squares = (np.bincount(classes, of, every) for of in (None, right, right**2))
    found: Floats = np.stack([drawn, drawn * how.queries, correct, squares]).astype(np.float64)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall_intervals", description="Coverage.")
    parser.add_argument("--run", type=Path, required=True, help="folder of a run that is pretrained")
    parser.add_argument("--data-root", help="of its images, where they are not where its config says")
    parser.add_argument("--many", type=int, default=MANY, help="tasks that stand for the truth")
    parser.add_argument("--evaluations", type=int, default=30, help="of each number of tasks")
    given = parser.parse_args(arguments)
    for number, cells in enumerate(rows(given.run, given.data_root, given.many, given.evaluations)):
        shown = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells)
        rule = "|" + "---:|" * len(cells) + "\n" if number == 0 else ""
        sys.stdout.write(f"| {' | '.join(shown)} |\n{rule}")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
