"""Made-up answers with known truth, for tests of comparisons."""

import pytest
import torch

from mtl.evaluation.task_answers import Answers, Cell
from mtl.runtime.seeds import generator


def _answered(
    tasks: int = 40, way: int = 3, classes: int = 8, queries: int = 6, judged: int = 7, seed: int = 0
) -> Answers:
    """Random tasks of different classes, answered at random."""
    random = generator(seed, "answers", tasks, way, classes, queries)
    ids = torch.rand(tasks, classes, generator=random).argsort(1)[:, :way]
    right = torch.randint(queries + 1, (tasks, way), generator=random)
    return Answers(ids, right / queries, torch.rand(judged, generator=random), queries)


def _cell(arm: str, seed: int, answers: Answers | dict[str, Answers], **more) -> Cell:
    given = answers if isinstance(answers, dict) else {"5-way 1-shot": answers}
    rest = {"curve": [(0, 0.5), (10, 0.6)], "seconds_per_step": 0.02, "seconds": 9.0, "images": 800}
    return Cell(arm, seed, given, **{**rest, **more})


@pytest.fixture
def answered():
    return _answered


@pytest.fixture
def cell():
    return _cell
