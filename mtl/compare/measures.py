"""What a comparison measures, for many weightings of the tasks at once.

A weighting says how often each task counts. All ones is the tasks as they are; how often each comes when they
are drawn with replacement is a resample of the bootstrap (Efron, 1979). The measure of a weighting equals
that of tasks repeated as often as they count, so that point estimates and resamples share one definition.
"""

import torch
from torch import Tensor

from mtl.evaluation.task_answers import Answers
from mtl.stats import FIFTH as SHARE
from mtl.stats import mid_quantile

ACCURACY = "accuracy"
FIFTH = "5th percentile"
WORST_CLASS = "worst class"
WORST_TENTH = "worst tenth of classes"
HARD = "tasks drawn hard"
#: In the order of tables.
MEASURES = (ACCURACY, FIFTH, WORST_CLASS, WORST_TENTH, HARD)


def measure(answers: Answers, tasks: Tensor, judged: Tensor) -> dict[str, Tensor]:
    """Every measure for B weightings.

    Args:
        tasks: (B, T) float64, how often each task counts; no row is all 0.
        judged: (B, J) float64, the same for the tasks drawn hard.

    Returns:
        By the names in `MEASURES`, (B,) float64 in [0, 1]. `HARD` is nan where J = 0.

    Raises:
        ValueError: the weights are not of the shape of the answers.
    """
    if tasks.shape[1:] != answers.classes.shape[:1] or judged.shape[1:] != answers.judged.shape:
        raise ValueError(
            f"weights of {tasks.shape[1]} and {judged.shape[1]} tasks for "
            f"{len(answers.classes)} and {len(answers.judged)} tasks"
        )
    right, columns = answers.right, tasks.t().contiguous()  # rows of B numbers: the product reads along them
    counts = _sums(right.sum(1, keepdim=True), torch.ones_like(right[:, :1]), columns)
    values = torch.arange(len(counts), dtype=torch.float64) / (right.shape[1] * answers.queries)
    recall = class_recall(answers.classes, right, answers.queries, columns)
    return {
        ACCURACY: values @ counts / counts.sum(0),
        FIFTH: mid_quantile(values, counts, SHARE),
        WORST_CLASS: recall.amin(0),
        WORST_TENTH: worst_part(recall, 10),
        HARD: judged @ answers.judged.double() / judged.sum(1),
    }


def _sums(keys: Tensor, values: Tensor, columns: Tensor) -> Tensor:
    """(K, B): the sums of `values` (T, n) by their keys (T, n) in 0..K-1, under the weights (T, B).

    The product is sparse: of the K columns of a dense matrix a task would fill n.
    """
    rows = torch.arange(len(keys))[:, None].expand_as(keys)
    place = torch.stack([keys.flatten(), rows.flatten()])
    shape = (int(keys.max()) + 1, len(keys))
    matrix = torch.sparse_coo_tensor(place, values.flatten().double(), shape, check_invariants=False)
    summed: Tensor = torch.sparse.mm(matrix, columns)
    return summed


def class_recall(classes: Tensor, right: Tensor, queries: int, columns: Tensor) -> Tensor:
    """(C, B): the share of each class's queries answered rightly, over all its weighted tasks.

    C is the highest id in `classes` (T, N), and one more. A class that a weighting never shows is inf: it
    sorts behind all others, and a minimum passes it over.
    """
    asked = queries * _sums(classes, torch.ones_like(right), columns)
    return torch.where(asked > 0, _sums(classes, right, columns) / asked, torch.inf)


def worst_part(recall: Tensor, parts: int) -> Tensor:
    """(B,): the mean of the lowest one of so many `parts` of each column of `recall` (C, B), rounded up.

    Classes that are inf do not count. At least one class has to be finite in every column.
    """
    taken = (recall.isfinite().sum(0) + parts - 1) // parts
    lowest = recall.sort(0).values
    inside = torch.arange(len(recall))[:, None] < taken
    return torch.where(inside, lowest, 0.0).sum(0) / taken


def resamples(count: int, tasks: int, random: torch.Generator) -> Tensor:
    """(count, tasks) float64: how often each task comes in `tasks` draws with replacement, `count` times."""
    drawn = torch.randint(max(tasks, 1), (count, tasks), generator=random)
    ones = torch.ones(1, 1, dtype=torch.float64).expand(count, tasks)
    return torch.zeros(count, tasks, dtype=torch.float64).scatter_add_(1, drawn, ones)
