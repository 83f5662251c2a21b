"""What was measured twice, and whether it was picked as hard in between: the data of `improvement`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtl.hard_tasks.columns import episode_columns
from mtl.hard_tasks.ledger import Ledger, Phase
from mtl.hard_tasks.ledger_rows import HARD_ORIGINS, episode_id
from mtl.hard_tasks.stretches import class_sums, stretches
from mtl.hard_tasks.views import episode_span, measured_rounds

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_CONTROL = "control"  # origin of tasks that are tested again though they were not picked
_HARD = ", ".join(f"'{origin}'" for origin in sorted(HARD_ORIGINS))
_SPANS = 40  # at most: in more a class would have too few queries


@dataclass(frozen=True)
class Retests:
    """n measurements of shares in [0, 1], each followed by another of the same class or task."""

    before: Floats  # (n,)
    after: Floats  # (n,)
    picked: NDArray[np.bool_]  # (n,) whether it was drawn as hard in between
    units: Counts  # (n,) number of the class or task

    def units_of(self, picked: bool) -> Counts:
        """(k,) the classes or tasks of `rows`: those of one depend on each other."""
        units: Counts = self.units[self.picked == picked]
        return units

    def rows(self, picked: bool) -> Floats:
        """(k, 2): before and after, of those that were picked or of the others."""
        chosen = self.picked == picked
        return np.stack([self.before[chosen], self.after[chosen]], 1)


def task_retests(ledger: Ledger, at: Phase) -> Retests:
    """Tasks of round 0 that later rounds tested again: picked ones, and the others as a control.

    A task is its set of classes: where that was drawn more than once, its accuracies are averaged, and it was
    picked if any of its draws was.
    """
    first, last = episode_span(ledger, at, 0)
    rows = ledger.sql.execute(
        f"""
        WITH later AS (
            SELECT classes, avg(accuracy) AS after, max(origin IN ({_HARD})) AS picked FROM episode
            WHERE id > :last AND id < :end AND origin IN ({_HARD}, '{_CONTROL}') GROUP BY classes)
        SELECT avg(accuracy), after, picked FROM episode CROSS JOIN later USING (classes)
        WHERE id BETWEEN :first AND :last GROUP BY classes ORDER BY classes
        """,  # CROSS: the tasks of round 0 are gone through once, the few later ones looked up
        {"first": first, "last": last, "end": episode_id(at.id + 1, 0)},
    ).fetchall()
    before, after, picked = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return Retests(before, after, picked > 0, np.arange(len(before)))


def class_retests(ledger: Ledger, at: Phase) -> Retests:
    """Each class in one span of the phase's rounds, and in the next span in which it was drawn.

    Its recall is that in episodes not drawn as hard, so that hard company does not count. From the first of
    these spans on and before the second it had some draws into hard episodes. It was picked if these are more
    than its even share among the classes met in the phase. One draw is enough where hard episodes are few;
    where they are many, nearly every class is in some of them.
    """
    spans = stretches(measured_rounds(ledger, at), _SPANS)
    known = ledger.sql.execute("SELECT class FROM class_total WHERE phase = ? ORDER BY class", (at.id,))
    classes = np.array([row[0] for row in known], dtype=np.int64)
    queries, correct, hard = (np.zeros((len(spans), len(classes)), dtype=np.int64) for _ in range(3))
    if len(spans) > 1:  # a single one has no next
        number, c, _, _, draws = np.array(class_sums(ledger, at, spans)).T
        hard[number, classes.searchsorted(c)] = draws
        for span, (first, last) in enumerate(spans):
            ids = episode_span(ledger, at, first)[0], episode_span(ledger, at, last)[1]
            queries[span], correct[span] = _answers(ledger, ids, classes)
    drawn, at_span = queries.T.nonzero()  # class by class, spans ascending
    again = (drawn[1:] == drawn[:-1]).nonzero()[0]
    c, now, then = drawn[again], at_span[again], at_span[again + 1]
    until = np.concatenate([np.zeros((1, len(classes)), dtype=np.int64), hard.cumsum(0)])  # before each span
    every = until.sum(1)
    own, all_draws = until[then, c] - until[now, c], every[then] - every[now]
    recall = correct / queries.clip(1)
    return Retests(recall[now, c], recall[then, c], own * len(classes) > all_draws, c)


def _answers(ledger: Ledger, ids: tuple[int, int], classes: Counts) -> tuple[Counts, Counts]:
    """(queries, right answers), each (C,), of the episodes that were not drawn as hard."""
    queries, correct = np.zeros_like(classes), np.zeros_like(classes)
    rows = ledger.sql.execute(
        "SELECT classes, recall, length(images) / length(classes) - shot FROM episode "  # 4 bytes either
        f"WHERE id BETWEEN ? AND ? AND origin NOT IN ({_HARD})",
        ids,
    )
    for met, recall, (asked,) in episode_columns(rows, "<f4"):
        place = classes.searchsorted(met.ravel())
        right = np.rint(recall.ravel() * asked)
        queries += asked * np.bincount(place, minlength=len(classes))
        correct += np.bincount(place, right, len(classes)).astype(np.int64)
    return queries, correct
