"""What is written is whole, and it is as of the last commit, however the writer ended."""

import inspect
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from ledger_digest import digest, dump

from mtl.errors import UserError
from mtl.ledger import rows
from mtl.ledger import tables_schema as schema
from mtl.ledger.queries import pair_sums
from mtl.ledger.rows import key_classes, sum_pairs
from mtl.ledger.store import KEPT_WEIGHTS, Ledger, RoundRow


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hard tasks #1?.sqlite"  # characters with a meaning in a URI


def a_round(number: int, **changes) -> RoundRow:
    values = {"step": 50, "unit": "class", "pool": 4, "epsilon": 0.3, "alpha": 0.5, "accuracy": 0.7}
    return RoundRow(**({"round": number, "hard_share": 0.25} | values | changes))


def test_an_episode_is_kept_whole_and_in_the_order_of_its_classes(ledger, solved):
    batch, outcome = solved(
        [[7, 2, 5]],
        [[1.0, 0.5, 0.25]],
        confusion=[[[0.75, 0.125, 0.125], [0.5, 0.25, 0.25], [0.0, 0.5, 0.5]]],
        first=12,
        queries=4,
    )
    ledger.append("meta-train", 3, 17, batch, outcome, "train")
    (row,) = ledger.sql.execute("SELECT * FROM episode").fetchall()
    (_, round_, step, origin, stream, shot, classes, images, loss, accuracy, hardness, fisher,
     recall, confusion, wrong) = row  # fmt: skip
    assert (round_, step, origin, stream, shot) == (3, 17, "uniform", 12, 1)
    assert key_classes(classes) == (2, 5, 7)
    images = np.frombuffer(images, "<i4")
    assert images[:3].tolist() == [200, 500, 700]  # support
    assert images[3:].reshape(3, 4).tolist() == [[c * 100 + q for q in range(1, 5)] for c in (2, 5, 7)]
    assert np.frombuffer(recall, "<f4").tolist() == [0.5, 0.25, 1.0]
    expected = [[0.25, 0.25, 0.5], [0.5, 0.5, 0.0], [0.125, 0.125, 0.75]]
    assert np.frombuffer(confusion, "<f2").reshape(3, 3).tolist() == expected
    assert accuracy == pytest.approx(1.75 / 3)
    assert loss == pytest.approx(1 - 1.75 / 3)
    assert hardness is fisher is wrong is None  # this outcome does not know them


def test_sums_are_those_of_the_episodes(ledger, random_solved):
    met = {}
    for number in range(6):
        origin = "hard" if number % 2 else "uniform"
        batch, outcome = random_solved(7, 4, 9, seed=number, origin=origin)
        ledger.append("p", number // 2, number, batch, outcome, "train")
        for classes, recall, confusion in zip(
            batch.classes.tolist(), outcome.recall, outcome.confusion, strict=True
        ):
            for i, c in enumerate(classes):
                total = met.setdefault(c, [0, 0, 0, 0, 0])
                right = round(5 * float(recall[i]))
                for place, value in enumerate((5, right, 1, number % 2, right**2)):
                    total[place] += value
                for j, d in enumerate(classes):
                    if c != d:
                        pair = met.setdefault((c, d), [0.0, 0])
                        pair[0] += float(confusion[i, j])
                        pair[1] += 1
    classes = ledger.sql.execute(
        "SELECT class, queries, correct, draws, hard, squares FROM class_total"
    ).fetchall()
    by_round = ledger.sql.execute(
        "SELECT class, sum(queries), sum(correct), sum(draws), sum(hard), sum(squares) FROM class_round "
        "GROUP BY class"
    ).fetchall()
    pairs = pair_sums(ledger, ledger.phase("p"), None).most_confused(99)
    assert ledger.phase("p").episodes == 42
    assert {c: list(sums) for c, *sums in classes} == {c: v for c, v in met.items() if isinstance(c, int)}
    assert by_round == classes
    assert 2 * len(pairs) == sum(isinstance(key, tuple) for key in met)
    for low, high, there, back, n in pairs:
        assert low < high
        assert [there, n] == pytest.approx(met[low, high], rel=1e-3)  # float16
        assert [back, n] == pytest.approx(met[high, low], rel=1e-3)


def test_a_task_is_its_set_of_classes_in_whatever_order(ledger, solved):
    ledger.append("p", 0, 0, *solved([[1, 2]], [[1.0, 0.5]]), "train")
    ledger.append("p", 2, 9, *solved([[2, 1]], [[0.5, 0.0]], "resampled"), "train")
    ledger.set_task_weights("p", torch.tensor([[2, 1], [8, 9]]), torch.tensor([0.25, 0.75]))
    ledger.set_verdict("p", [2, 1], "hard classes")
    rows = ledger.sql.execute(
        "SELECT first_round, first, last, total, seen, hard, weight, verdict FROM task_total"
    ).fetchall()
    assert rows == [(0, 0.75, 0.25, 1.0, 2, 1, 0.25, "hard classes")]


def test_a_class_that_fills_two_ways_makes_no_pair_with_itself(ledger, solved):
    ledger.append("p", 0, 0, *solved([[3, 5, 3]], [[0.5, 1.0, 0.5]], "hard"), "train")
    pairs = pair_sums(ledger, ledger.phase("p"), None).most_confused(9)
    assert [(low, high, n) for low, high, _, _, n in pairs] == [(3, 5, 2)]


def test_sums_of_pairs_do_not_depend_on_how_many_are_added_at_once(ledger, random_solved, monkeypatch):
    for number in range(40):
        ledger.append("p", number, number, *random_solved(30, 5, 40, number), "train")
    monkeypatch.setattr(rows, "_CHUNK", 50)
    sums = []
    for at_once in (10**9, 700):
        monkeypatch.setattr(rows, "_PAIRS_AT_ONCE", at_once)
        sums.append(pair_sums(ledger, ledger.phase("p"), None))
    for whole, in_parts in zip(*sums, strict=True):
        assert (whole == in_parts).all()
    assert sums[0].visits.sum() == 40 * 30 * 10


def test_what_was_not_committed_never_was(path, solved):
    with Ledger.open(path) as ledger:
        assert ledger.token() == ""
        ledger.append("p", 0, 0, *solved([[1, 2]], [[1.0, 0.5]]), "train")
        ledger.commit("step 1")
        saved = digest(ledger)
        ledger.append("p", 0, 1, *solved([[1, 3]], [[1.0, 0.5]]), "train")
        ledger.append("q", 0, 1, *solved([[1, 3]], [[1.0, 0.5]]), "test")
        assert digest(ledger) != saved
        with Ledger.read(path) as reader:
            assert digest(reader) == saved
    with Ledger.open(path) as ledger:
        assert ledger.token() == "step 1"
        assert digest(ledger) == saved
        assert [phase.name for phase in ledger.phases()] == ["p"]


def _write(path, steps):
    """Goes on from the last commit to `steps`, committing every tenth; also run as a script."""
    import torch

    from mtl.episodes.episode import EpisodeBatch, Outcome
    from mtl.ledger.store import Ledger

    ledger = Ledger.open(path)
    for step in range(int(ledger.token() or 0), steps):
        images = torch.zeros(1, 2, 1, dtype=torch.int64)
        batch = EpisodeBatch(torch.tensor([[1, step % 7 + 2]]), images, images, ("uniform",), (step,))
        ledger.append("p", 0, step, batch, Outcome.of(torch.eye(2)[None] * step, 2, 1), "train")
        if step % 10 == 9:
            ledger.commit(str(step + 1))
    return ledger


def test_killed_in_mid_transaction_it_is_as_last_committed_and_goes_on_to_the_same_end(path, tmp_path):
    script = f"import sys\n{inspect.getsource(_write)}\nledger = _write(sys.argv[1], 25)\n"
    script += "print('written', flush=True)\nsys.stdin.read()\n"
    command = [sys.executable, "-c", script, str(path)]
    pipe, root = subprocess.PIPE, Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) as killed:
        assert killed.stdout.readline() == "written\n"
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    with Ledger.read(path) as ledger:  # before any writer has mended the file
        assert ledger.token() == "20"
        assert ledger.phase("p").episodes == 20
    with _write(path, 40) as resumed, _write(tmp_path / "never killed.sqlite", 40) as whole:
        assert resumed.token() == whole.token() == "40"
        assert list(dump(resumed)) == list(dump(whole))


def test_when_it_was_committed_leaves_no_trace(tmp_path, random_solved):
    found = []
    for every in (1, 3, 100):
        with Ledger.open(tmp_path / f"{every}.sqlite") as ledger:
            for step in range(10):
                ledger.append("p", step // 4, step, *random_solved(3, 4, 8, seed=step), "train")
                if step % every == 0:
                    ledger.commit(f"{every} {step}")
            found.append(digest(ledger))
    assert found[0] == found[1] == found[2]


def test_clear_takes_out_one_phase_and_leaves_the_others(ledger, random_solved):
    def write(ledger, phase):
        ledger.append(phase, 0, 0, *random_solved(5, 3, 9, seed=1), "train")
        ledger.add_round(phase, "train", a_round(1), torch.rand(9), lambda u: u[:, None])

    write(ledger, "a")
    alone = [line for line in dump(ledger) if "'a'" in line]
    write(ledger, "b")
    ledger.clear("b")
    assert list(dump(ledger)) == alone
    ledger.clear("a")
    ledger.clear("never there")
    assert list(dump(ledger)) == []
    tables = [name for name in schema.TABLES if name != "saved"]
    assert [ledger.sql.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables] == [0] * len(
        tables
    )


def test_the_order_in_which_phases_began_is_not_part_is_not_part_of_what_it_says(tmp_path, random_solved):
    found = []
    for names in (("a", "b"), ("b", "a")):
        with Ledger.open(tmp_path / "-".join(names)) as ledger:
            for name in names:
                ledger.append(name, 0, 0, *random_solved(5, 3, 9, seed=ord(name)), "train")
            found.append(digest(ledger))
    assert found[0] == found[1]


def test_the_heaviest_weights_of_a_round_are_kept_equal_ones_by_their_number(ledger):
    weights = torch.full((3000,), 0.1)
    weights[2500], weights[7] = 0.9, 0.5
    ledger.add_round("p", "train", a_round(1), weights, lambda u: torch.stack([u, u + 1], 1))
    rows = ledger.sql.execute("SELECT rank, classes, weight FROM round_weight ORDER BY rank").fetchall()
    assert len(rows) == KEPT_WEIGHTS
    assert [key_classes(key) for _, key, _ in rows[:5]] == [(2500, 2501), (7, 8), (0, 1), (1, 2), (2, 3)]
    assert [weight for _, _, weight in rows[:3]] == pytest.approx([0.9, 0.5, 0.1])


def test_a_round_without_error_or_weights(ledger):
    ledger.add_round("p", "train", a_round(1, epsilon=float("nan")))
    assert ledger.sql.execute("SELECT epsilon FROM round").fetchall() == [(None,)]
    with pytest.raises(ValueError, match="members"):
        ledger.add_round("p", "train", a_round(2), torch.ones(3))


def test_rounds_may_not_fall_and_a_phase_has_one_split(path, solved):
    episode = solved([[1, 2]], [[1.0, 0.5]])
    with Ledger.open(path) as ledger:
        ledger.append("p", 4, 0, *episode, "train")
        with pytest.raises(ValueError, match="round 3 after"):
            ledger.append("p", 3, 0, *episode, "train")
        with pytest.raises(ValueError, match="has the split train, not test"):
            ledger.append("p", 4, 0, *episode, "test")
        ledger.commit("x")
    with Ledger.open(path) as ledger:
        with pytest.raises(ValueError, match="round 3 after"):
            ledger.append("p", 3, 0, *episode, "train")
        ledger.clear("p")
        ledger.append("p", 3, 0, *episode, "train")


def test_an_unknown_phase_is_named_with_those_there_are(ledger, solved):
    with pytest.raises(UserError, match="none yet"):
        ledger.phase("meta-train")
    ledger.append("evaluate", 0, 0, *solved([[1, 2]], [[1.0, 0.5]]), "test")
    with pytest.raises(UserError, match='no phase "meta-train" in the ledger; it has: "evaluate"'):
        ledger.set_verdict("meta-train", [1, 2], "undecided")


def test_a_pair_that_met_once_does_not_lead_by_one_bad_meeting():
    def episode(low, high, share):
        confusion = np.array([[1 - share, share], [share, 1 - share]], "<f2")
        return np.array([low, high], ">i4").tobytes(), confusion.tobytes()

    once, often = episode(1, 2, 0.875), episode(3, 4, 0.75)
    blobs = [*once, *often, *often, *often]
    with closing(sqlite3.connect(":memory:")) as connection:
        episodes = connection.execute("VALUES (?, ?), (?, ?), (?, ?), (?, ?)", blobs)
        pairs = [(low, high, n) for low, high, _, _, n in sum_pairs(episodes).most_confused(2)]
    assert pairs == [(3, 4, 3), (1, 2, 1)]  # 3 · 0.75 / 4 before 0.875 / 2
