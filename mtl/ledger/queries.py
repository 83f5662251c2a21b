"""What the ledger has to say about one phase: its hardest tasks and classes, most confused pairs, and rounds.

Without a round a view tells of the whole phase. With `round=R` it tells of that round alone: of the episodes
that were solved between round R's meta-test, which belongs to it, and the next; "first seen" still looks
back on the whole phase. Every view raises UserError for a phase or a round that the ledger does not have.

Hardness is never the plain mean, which a task or pair met once would win by luck. Tasks and pairs go by
Σ error / (n + 1), as if they had passed one more visit without a fault; classes by the upper end of the
interval of their recall over tasks. Equals are ordered by name.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mtl.errors import UserError
from mtl.ledger.class_squares import class_squares
from mtl.ledger.rows import HARD_ORIGINS, PairSum, episode_id, key_classes, sum_pairs
from mtl.ledger.store import Ledger, Phase, Round
from mtl.ledger.tables_schema import HOT_PAIR
from mtl.stats import recall_intervals

if TYPE_CHECKING:
    from mtl.ledger.store import Phase
from collections.abc import Collection

from mtl.ledger.store import Phase

_TREND_SHARE = 4  # the first and the last quarter of the rounds are held against each other


@dataclass(frozen=True)
class HardTask:
    """A task: one set of classes, whatever images it came with."""

    classes: tuple[str, ...]
    first: float  # accuracy when first seen in the phase
    last: float  # ... and when last seen
    mean: float
    seen: int
    resampled: int  # times it was drawn because something in it was hard
    weight: float | None  # boosting weight, where tasks carry weights
    verdict: str | None  # of an evaluation: "hard classes", "unlucky support" or "undecided"


@dataclass(frozen=True)
class HardClass:
    """A class over all tasks that it was drawn into."""

    name: str
    group: str | None
    recall: float
    low: float  # 95 % interval of the recall over tasks like these
    high: float
    queries: int
    draws: int
    hard_draws: int  # into tasks drawn because something in them was hard
    early: float | None  # recall in the first quarter of the phase's rounds; None: not drawn there
    late: float | None  # recall in the last quarter, or in round R
    trend: float | None  # late - early; None also where the two would be the same rounds


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that met in n tasks."""

    classes: tuple[str, str]
    confusion: float  # mean probability that queries of either got for the other
    first_as_second: float  # ... queries of the first for the second
    second_as_first: float
    n: int


def hardest_tasks(ledger: Ledger, phase: str, top: int = 20, round: int | None = None) -> list[HardTask]:
    """Tasks by Σ (1 - accuracy) / (times seen + 1), the hardest first."""
    at = _checked(ledger, phase, top, round)
    order = f"ORDER BY (seen - total) / (seen + 1) DESC, classes LIMIT {int(top)}"
    if round is None or _is_only(ledger, at, round):
        rows = ledger.sql.execute(
            "SELECT classes, first, last, total, seen, hard, weight, verdict "
            f"FROM task_total WHERE phase = ? {order}",
            (at.id,),
        ).fetchall()
    else:
        first, last = episode_span(ledger, at, round)
        hard = ", ".join(f"'{origin}'" for origin in sorted(HARD_ORIGINS))
        rows = ledger.sql.execute(
            f"""
            WITH met AS (
                SELECT classes, total(accuracy) AS total, count(*) AS seen, total(origin IN ({hard})) AS hard,
                       max(id) AS latest
                FROM episode WHERE id BETWEEN :first AND :last GROUP BY classes {order})
            SELECT met.classes, task.first, episode.accuracy, met.total, met.seen, met.hard,
                   (SELECT weight FROM round_weight AS w
                    WHERE w.phase = :phase AND w.round = :round AND w.classes = met.classes),
                   task.verdict
            FROM met JOIN episode ON episode.id = met.latest
                     JOIN task_total AS task ON task.phase = :phase AND task.classes = met.classes
            """,
            {"first": first, "last": last, "phase": at.id, "round": round},
        ).fetchall()
    names = class_names(ledger, at)
    tasks = [
        HardTask(
            tuple(names.get(c, str(c)) for c in key_classes(key)),
            first, last, total / seen, seen, int(hard), weight, verdict,
        )
        for key, first, last, total, seen, hard, weight, verdict in rows
    ]  # fmt: skip
    return sorted(tasks, key=lambda t: (-(1 - t.mean) * t.seen / (t.seen + 1), t.classes))


def hardest_classes(ledger: Ledger, phase: str, top: int = 20, round: int | None = None) -> list[HardClass]:
    """Classes by the upper end of the 95 % interval of their recall: first those that are surely hard."""
    at = _checked(ledger, phase, top, round)
    round = even_round(at) if round is None else round
    where = "class_total WHERE phase = ?" if round is None else "class_round WHERE phase = ? AND round = ?"
    rows = ledger.sql.execute(
        f"SELECT class, queries, correct, draws, hard FROM {where}",
        (at.id,) if round is None else (at.id, round),
    ).fetchall()
    names, groups = class_names(ledger, at), class_groups(ledger, at)
    squares = class_squares(ledger.sql, at.id, round)
    met, queries, correct, draws, _ = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    ends = recall_intervals(draws, queries, correct, [squares[c] for c in met.tolist()])
    intervals = dict(zip(met.tolist(), ends, strict=True))
    rows.sort(key=lambda row: (intervals[row[0]][1], names.get(row[0], str(row[0]))))

    measured = measured_rounds(ledger, at)
    quarter = max(1, len(measured) // _TREND_SHARE)
    early, late = measured[:quarter], measured[-quarter:] if round is None else [round]
    apart = early[-1] < late[0] if measured else False
    before = _recall(ledger, at, early[0], early[-1]) if apart else {}
    after = _recall(ledger, at, late[0], late[-1]) if apart else {}
    result = []
    for c, n, right, drawn, hard in rows[:top]:
        (low, high), then, now = intervals[c], before.get(c), after.get(c)
        result.append(
            HardClass(
                names.get(c, str(c)), groups.get(c), right / n, low, high, n, drawn, hard,
                then, now, None if then is None or now is None else now - then,
            )
        )  # fmt: skip
    return result


def confused_pairs(ledger: Ledger, phase: str, top: int = 20, round: int | None = None) -> list[ConfusedPair]:
    """Pairs by Σ confusion / (n + 1), most confused first; confusion is the mean of both directions."""
    at = _checked(ledger, phase, top, round)
    round = even_round(at) if round is None else round
    rows = pair_sums(ledger, at, top) if round is None else round_pair_sums(ledger, at, round, top)
    names = class_names(ledger, at)
    pairs = [
        (
            -(there + back) / (n + 1),
            ConfusedPair(
                (names.get(i, str(i)), names.get(j, str(j))), (there + back) / (2 * n), there / n, back / n, n
            ),
        )
        for i, j, there, back, n in rows
    ]
    return [pair for _, pair in sorted(pairs, key=lambda row: (row[0], row[1].classes))]


def round_pair_sums(ledger: Ledger, at: Phase, round: int, top: int) -> list[PairSum]:
    """The sums of the `top` most confused pairs over the episodes of one round, in that order."""
    if _is_only(ledger, at, round):
        return pair_sums(ledger, at, top)
    blobs = ledger.sql.execute(
        "SELECT classes, confusion FROM episode WHERE id BETWEEN ? AND ?", episode_span(ledger, at, round)
    )
    return sum_pairs(blobs, top)


def pair_sums(ledger: Ledger, at: Phase, top: int) -> list[PairSum]:
    """The phase's sums of the `top` most confused pairs, in that order."""
    rows = _pairs(ledger, at, top, f"INDEXED BY pair_hot WHERE {HOT_PAIR} AND")
    return rows if len(rows) == top else _pairs(ledger, at, top, "WHERE")


def _pairs(ledger: Ledger, at: Phase, top: int, where: str) -> list[PairSum]:
    """The first `top` rows of the phase's sums, of those that `where` lets through."""
    return ledger.sql.execute(
        f"SELECT low, high, low_high, high_low, n FROM pair_total {where} phase = ? "
        "ORDER BY (low_high + high_low) / (n + 1) DESC, low, high LIMIT ?",
        (at.id, top),
    ).fetchall()


def rounds(ledger: Ledger, phase: str, top: int = 20, round: int | None = None) -> list[Round]:
    """The last `top` rounds in their order, or round R alone (none, if R had episodes but no update)."""
    at = _checked(ledger, phase, top, round)
    rows = ledger.sql.execute(
        "SELECT round, step, unit, pool, epsilon, alpha, accuracy, hard_share FROM round "
        "WHERE phase = ? AND round = coalesce(?, round) ORDER BY round DESC LIMIT ?",
        (at.id, round, top),
    )
    return [Round(*row) for row in rows][::-1]


def has_round(ledger: Ledger, phase: str, round: int) -> bool:
    """Whether the phase has episodes or an update of that round."""
    return round in measured_rounds(ledger, ledger.phase(phase), updates=True)


def _checked(ledger: Ledger, phase: str, top: int, round: int | None) -> Phase:
    if top < 1:
        raise UserError(f"top: {top}; at least 1 row must be asked for")
    at = ledger.phase(phase)
    known = measured_rounds(ledger, at, updates=True)
    if round is not None and round not in known:
        span = f"{known[0]} to {known[-1]}" if known else "none"
        raise UserError(f'round {round}: not in phase "{phase}" of {ledger.path}; its rounds: {span}')
    return at


def measured_rounds(ledger: Ledger, at: Phase, updates: bool = False) -> list[int]:
    """Ascending: rounds that have episodes, and with `updates` also those that have none."""
    sql = "SELECT round FROM round_span WHERE phase = :phase"
    if updates:
        sql += " UNION SELECT round FROM round WHERE phase = :phase"
    return [row[0] for row in ledger.sql.execute(f"{sql} ORDER BY round", {"phase": at.id})]


def _is_only(ledger: Ledger, at: Phase, round: int) -> bool:
    """Whether no other round has episodes: the phase's own sums then tell of this one, at once."""
    return measured_rounds(ledger, at) == [round]


def episode_span(ledger: Ledger, at: Phase, round: int) -> tuple[int, int]:
    """The ids of the round's first and last episode; an empty span if it has none."""
    row = ledger.sql.execute(
        "SELECT first, last FROM round_span WHERE phase = ? AND round = ?", (at.id, round)
    ).fetchone()
    first, last = row or (0, -1)
    return episode_id(at.id, first), episode_id(at.id, 0) + last


def class_names(ledger: Ledger, at: Phase) -> dict[int, str]:
    """What the classes of the phase's split are called; one without a name goes by its number."""
    return dict(ledger.sql.execute("SELECT class, name FROM class_name WHERE split = ?", (at.split,)))


def classes_met(ledger: Ledger, at: Phase) -> int:
    """How many classes the phase's episodes had."""
    row = ledger.sql.execute("SELECT count(*) FROM class_total WHERE phase = ?", (at.id,)).fetchone()
    return int(row[0])


def class_groups(ledger: Ledger, at: Phase) -> dict[int, str | None]:
    """The group of each class that has a name; None where it is in none."""
    return dict(ledger.sql.execute("SELECT class, class_group FROM class_name WHERE split = ?", (at.split,)))


def _recall(ledger: Ledger, at: Phase, first: int, last: int) -> dict[int, float]:
    """Recall of every class that was drawn in rounds first..last."""
    rows = ledger.sql.execute(
        "SELECT class, 1.0 * sum(correct) / sum(queries) FROM class_round "
        "WHERE phase = ? AND round BETWEEN ? AND ? GROUP BY class",
        (at.id, first, last),
    )
    return dict(rows)


def split_name(split: str, image_set: str | None) -> str:
    """What the ledger calls a split: with its image set, where it is not the run's own."""
    return split if image_set is None else f"{split} {image_set}"


def even_round(at: "Phase") -> int | None:
    """The round that tells of classes and pairs where no round is asked for; None: all of them together.

    Of an evaluation it is the first: the later ones test again what was answered worst, and would count a
    hard task many times over.
    """
    return 0 if is_evaluation(at.name) else None


def is_evaluation(phase: str) -> bool:
    """Whether a phase only measures: nothing is trained in it."""
    return phase.startswith("evaluate")


def whole_groups(
    ledger: Ledger, at: Phase, classes: Collection[int], most: int, fewest: int = 2
) -> dict[int, str] | None:
    """The group of each class; None unless each is in one and there are `fewest` to `most` groups."""
    groups = class_groups(ledger, at)
    of_class = {c: group for c in classes if (group := groups.get(c))}
    whole = set(classes) <= of_class.keys() and fewest <= len(set(of_class.values())) <= most
    return of_class if whole else None
