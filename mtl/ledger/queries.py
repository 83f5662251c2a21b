"""Views of one phase of the ledger: its hardest tasks and classes, most confused pairs, and rounds.

Without a round a view covers the whole phase. With `round=R` it covers only that round: the episodes that
were solved between round R's meta-test, which belongs to it, and the next; "first seen" still looks back on
the whole phase. Every view raises UserError for a phase or a round that the ledger does not have.

Hardness is never the plain mean, by which a task or pair seen once could lead by luck. Tasks and pairs are
ordered by Σ error / (n + 1), as if they had passed one more visit without a fault; classes by the upper end
of the interval of their recall over tasks. Equals are ordered by name.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mtl.errors import UserError
from mtl.ledger.rows import HARD_ORIGINS, PairSums, episode_id, key_classes, phase_span, sum_pairs
from mtl.ledger.store import Ledger, Phase, RoundRow
from mtl.stats import recall_intervals

#: The origins of hard episodes, as a list in SQL.
HARD_SQL = ", ".join(f"'{origin}'" for origin in sorted(HARD_ORIGINS))
_TREND_SHARE = 4  # the first and the last quarter of the rounds are compared


@dataclass(frozen=True)
class HardTask:
    """A task: one set of classes, whatever its images."""

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
    """Two classes that were together in n tasks."""

    classes: tuple[str, str]
    confusion: float  # mean probability that queries of either got for the other
    first_as_second: float  # ... queries of the first for the second
    second_as_first: float
    n: int


class ClassNames(dict[int, str]):
    """Names by class id; a class without a name goes by its number."""

    def __missing__(self, number: int) -> str:
        return str(number)


def hardest_tasks(ledger: Ledger, phase: str, top: int = 20, round: int | None = None) -> list[HardTask]:
    """Tasks by Σ (1 - accuracy) / (times seen + 1), the hardest first."""
    at = checked_phase(ledger, phase, top, round)
    order = f"ORDER BY (seen - total) / (seen + 1) DESC, classes LIMIT {int(top)}"
    if round is None or _is_only(ledger, at, round):
        rows = ledger.sql.execute(
            "SELECT classes, first, last, total, seen, hard, weight, verdict "
            f"FROM task_total WHERE phase = ? {order}",
            (at.id,),
        ).fetchall()
    else:
        first, last = episode_span(ledger, at, round)
        rows = ledger.sql.execute(
            f"""
            WITH met AS (
                SELECT classes, total(accuracy) AS total, count(*) AS seen,
                       total(origin IN ({HARD_SQL})) AS hard, max(id) AS latest
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
            tuple(names[c] for c in key_classes(key)),
            first, last, total / seen, seen, int(hard), weight, verdict,
        )
        for key, first, last, total, seen, hard, weight, verdict in rows
    ]  # fmt: skip
    return sorted(tasks, key=lambda t: (-(1 - t.mean) * t.seen / (t.seen + 1), t.classes))


def hardest_classes(ledger: Ledger, phase: str, top: int = 20, round: int | None = None) -> list[HardClass]:
    """Classes by the upper end of the 95 % interval of their recall; those certain to be hard come first."""
    at = checked_phase(ledger, phase, top, round)
    round = even_round(at) if round is None else round
    where = "class_total WHERE phase = ?" if round is None else "class_round WHERE phase = ? AND round = ?"
    rows = ledger.sql.execute(
        f"SELECT class, queries, correct, draws, hard, squares FROM {where}",
        (at.id,) if round is None else (at.id, round),
    ).fetchall()
    names, groups = class_names(ledger, at), class_groups(ledger, at)
    classes, queries, correct, draws, _, squares = np.array(rows, dtype=np.int64).reshape(-1, 6).T
    ends = recall_intervals(draws, queries, correct, squares)
    intervals = dict(zip(classes.tolist(), ends, strict=True))
    rows.sort(key=lambda row: (intervals[row[0]][1], names[row[0]]))

    measured = measured_rounds(ledger, at)
    quarter = max(1, len(measured) // _TREND_SHARE)
    early, late = measured[:quarter], measured[-quarter:] if round is None else [round]
    recall: list[dict[int, float]] = [{}, {}]
    if measured and early[-1] < late[0]:
        spans = [(early[0], early[-1]), (late[0], late[-1])]
        for number, c, queries, right, _ in class_sums(ledger, at, spans):
            recall[number][c] = right / queries
    result = []
    for c, n, right, drawn, hard, _ in rows[:top]:
        (low, high), then, now = intervals[c], recall[0].get(c), recall[1].get(c)
        result.append(
            HardClass(
                names[c], groups.get(c), right / n, low, high, n, drawn, hard,
                then, now, None if then is None or now is None else now - then,
            )
        )  # fmt: skip
    return result


def confused_pairs(ledger: Ledger, phase: str, top: int = 20, round: int | None = None) -> list[ConfusedPair]:
    """Pairs by Σ confusion / (n + 1), most confused first; confusion is the mean of both directions."""
    at = checked_phase(ledger, phase, top, round)
    names = class_names(ledger, at)
    sums = pair_sums(ledger, at, even_round(at) if round is None else round)
    pairs = [
        (
            -(there + back) / (n + 1),
            ConfusedPair((names[i], names[j]), (there + back) / (2 * n), there / n, back / n, n),
        )
        for i, j, there, back, n in sums.most_confused(top)
    ]
    return [pair for _, pair in sorted(pairs, key=lambda row: (row[0], row[1].classes))]


def pair_sums(ledger: Ledger, at: Phase, round: int | None) -> PairSums:
    """The sums of all pairs: of one round, or (None) of the phase."""
    span = phase_span(at.id) if round is None else episode_span(ledger, at, round)
    return ledger.remembered(("pairs", span), partial(_sum_pairs, ledger, span))


def _sum_pairs(ledger: Ledger, span: tuple[int, int]) -> PairSums:
    blobs = "SELECT classes, confusion FROM episode WHERE id BETWEEN ? AND ?"
    return sum_pairs(ledger.sql.execute(blobs, span))


def rounds(ledger: Ledger, phase: str, top: int | None = 20, round: int | None = None) -> list[RoundRow]:
    """The last `top` rounds in their order (None: all), or only round R (none, if R had no update)."""
    at = checked_phase(ledger, phase, 1 if top is None else top, round)
    rows = ledger.sql.execute(
        "SELECT round, step, unit, pool, epsilon, alpha, accuracy, hard_share FROM round "
        "WHERE phase = ? AND round = coalesce(?, round) ORDER BY round DESC LIMIT ?",
        (at.id, round, -1 if top is None else top),
    )
    return [RoundRow(*row) for row in rows][::-1]


def has_round(ledger: Ledger, phase: str, round: int) -> bool:
    """True if the phase has episodes or an update of that round."""
    return round in measured_rounds(ledger, ledger.phase(phase), updates=True)


def checked_phase(ledger: Ledger, phase: str, top: int, round: int | None = None) -> Phase:
    """The phase of that name. Raises UserError unless it exists, has the round, and `top` is at least 1."""
    if top < 1:
        raise UserError(f"top: {top} is not allowed; it must be at least 1 row")
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
    """True if no other round has episodes: the phase's sums, which are quick to read, are then its own."""
    return measured_rounds(ledger, at) == [round]


def episode_span(ledger: Ledger, at: Phase, round: int) -> tuple[int, int]:
    """The ids of the round's first and last episode; an empty span if it has none."""
    row = ledger.sql.execute(
        "SELECT first, last FROM round_span WHERE phase = ? AND round = ?", (at.id, round)
    ).fetchone()
    first, last = row or (0, -1)
    return episode_id(at.id, first), episode_id(at.id, 0) + last


def class_names(ledger: Ledger, at: Phase) -> ClassNames:
    """The names of the classes of the phase's split."""
    return ClassNames(ledger.sql.execute("SELECT class, name FROM class_name WHERE split = ?", (at.split,)))


def class_groups(ledger: Ledger, at: Phase) -> dict[int, str | None]:
    """The group of each class that has a name; None where it is in none."""
    return dict(ledger.sql.execute("SELECT class, class_group FROM class_name WHERE split = ?", (at.split,)))


def classes_drawn(ledger: Ledger, at: Phase) -> list[int]:
    """The classes of the phase's episodes, ascending."""
    rows = ledger.sql.execute("SELECT class FROM class_total WHERE phase = ? ORDER BY class", (at.id,))
    return [row[0] for row in rows]


def classes_met(ledger: Ledger, at: Phase) -> int:
    """The number of classes in the phase's episodes."""
    return len(classes_drawn(ledger, at))


def class_sums(
    ledger: Ledger, at: Phase, spans: Sequence[tuple[int, int]]
) -> list[tuple[int, int, int, int, int]]:
    """(number of the span, class, queries, right answers, hard draws), where the class was drawn.

    Each of the `spans` is a first and a last round.
    """
    if not spans:
        return []
    values = ", ".join(f"({number}, {first}, {last})" for number, (first, last) in enumerate(spans))
    return ledger.sql.execute(
        f"""
        WITH span (number, first, last) AS (VALUES {values})
        SELECT number, class, sum(queries), sum(correct), sum(hard)
        FROM span JOIN class_round ON phase = ? AND round BETWEEN first AND last
        GROUP BY number, class
        """,
        (at.id,),
    ).fetchall()


def split_name(split: str, image_set: str | None) -> str:
    """A split's name in the ledger: with its image set, where it is not the run's own."""
    return split if image_set is None else f"{split} {image_set}"


def even_round(at: Phase) -> int | None:
    """The round whose classes and pairs represent the phase; None: all rounds together.

    Of an evaluation it is the first: the later ones test the worst tasks again, and would count a hard task
    many times over.
    """
    return 0 if is_evaluation(at.name) else None


def is_evaluation(phase: str) -> bool:
    """True if a phase only measures: nothing is trained in it."""
    return phase.startswith("evaluate")


def whole_groups(
    ledger: Ledger, at: Phase, classes: Collection[int], most: int, fewest: int = 2
) -> dict[int, str] | None:
    """The group of each class; None unless each is in one and there are `fewest` to `most` groups."""
    groups = class_groups(ledger, at)
    of_class = {c: group for c in classes if (group := groups.get(c))}
    whole = set(classes) <= of_class.keys() and fewest <= len(set(of_class.values())) <= most
    return of_class if whole else None
