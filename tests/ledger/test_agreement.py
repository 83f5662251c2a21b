"""Whether runs agree on what is hard: the correlations, what chance leaves of them, and the command."""

import csv
import io
import json
from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata, spearmanr

from mtl.cli import main
from mtl.ledger.agreement import (
    Tally,
    agreement,
    corrected,
    correlation,
    hardest,
    read_tallies,
    reliability,
    spearman,
)
from mtl.ledger.queries import pair_sums
from mtl.ledger.store import Ledger, RoundRow

PHASE = "evaluate test 3-way 1-shot"
FIGURES = "mean", "lowest", "highest", "reliability", "corrected"
RECALL = {"ant": 0.0, "bee": 0.25, "cat": 0.5, "dog": 0.75, "eel": 1.0}


def _tally(values, noise=0.0, units=None, count=1.0):
    """Each half measures every unit `count` times, on average as its value (U,) and the noise (2, U)."""
    means = np.asarray(values, dtype=float) + np.broadcast_to(noise, (2, len(values)))
    known = np.arange(len(values)) if units is None else np.array(units)
    return Tally(known, means * count, np.broadcast_to(np.asarray(count, dtype=float), means.shape).copy())


@pytest.fixture
def made_run(tmp_path, solved_tasks):
    """Makes the folder of a run that meets every three of its classes, whose recall never changes."""

    def make(name, recall, phase=PHASE, split="test", again=None):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        names, tasks = list(recall), list(combinations(range(len(recall)), 3))
        with Ledger.open(folder / "hard_tasks.sqlite") as ledger:
            ledger.register_classes(split, dict(enumerate(names)))
            for _ in range(4):
                met = [[recall[names[c]] for c in task] for task in tasks]
                ledger.append(phase, 0, 0, *solved_tasks(tasks, met), split)
            if again is not None:
                ledger.append(phase, 1, 0, *solved_tasks([[0, 1, 2]], [[again] * 3]), split)
            ledger.commit("1")
        return folder

    return make


def _shown(capsys, *arguments):
    assert main(["agreement", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_correlation_is_that_of_ranks():
    # Ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4 have deviations -1.5, 0, 0, 1.5 and -0.5, -1.5, 0.5, 1.5.
    one, other = np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.2, 0.1, 0.3, 0.8])
    assert spearman(one, other) == pytest.approx(3 / np.sqrt(4.5 * 5))
    drawn = np.random.default_rng(0).integers(0, 6, (2, 40)) / 6
    assert spearman(*drawn) == pytest.approx(np.corrcoef(rankdata(drawn, axis=1))[0, 1])
    assert spearman(*drawn) != pytest.approx(kendalltau(*drawn).statistic)


@pytest.mark.parametrize("rows", [([0.1, 0.2], [0.3, 0.4]), ([1.0, 1.0, 1.0], [0.1, 0.2, 0.3])])
def test_what_has_no_ranks_has_no_correlation(rows):
    assert spearman(*map(np.array, rows)) is None
    assert spearman(*map(np.array, rows[::-1])) is None


def test_runs_are_compared_over_the_units_of_both():
    one = _tally([0.9, 0.1, 0.2, 0.3], units=[1, 4, 5, 7])
    other = _tally([0.1, 0.3, 0.2, 0.0], units=[4, 5, 7, 9])
    assert correlation(one, other) == pytest.approx(0.5)
    assert agreement("classes", [one, other]).shared == 3
    assert correlation(one, _tally([0.1, 0.2], units=[4, 5])) is None


def test_a_unit_counts_by_all_its_episodes():
    tally = Tally.of(
        [(np.array([3, 1, 3]), np.array([0.5, 0.0, 1.0])), (np.array([3, 7]), np.array([0.0, 1.0]))]
    )
    assert tally.units.tolist() == [1, 3, 7]
    assert tally.means() == pytest.approx([0.0, 0.5, 1.0])
    assert tally.halves() == pytest.approx(np.array([[0.0, 0.75, np.nan], [np.nan, 0.0, 1.0]]), nan_ok=True)


def test_halves_that_agree_make_a_run_reliable():
    assert reliability(_tally([0.1, 0.7, 0.3])) == pytest.approx(1.0)
    # Halves that correlate by 1/2 and -1/2: twice as many episodes have 2/3 and -2/3.
    assert reliability(_tally([0, 0, 0], [[0.1, 0.2, 0.3], [0.1, 0.3, 0.2]])) == pytest.approx(2 / 3)
    assert reliability(_tally([0, 0, 0], [[0.1, 0.2, 0.3], [0.2, 0.3, 0.1]])) == pytest.approx(-2 / 3)
    random = np.random.default_rng(0)
    noise = [reliability(_tally(np.zeros(30), random.random((2, 30)))) for _ in range(200)]
    assert abs(np.mean(noise)) < 0.06
    assert np.std(noise) < 0.4


def test_the_reliability_is_of_units_that_both_halves_met():
    halves = [(np.array([1, 2, 3, 8]), np.array([0.1, 0.2, 0.3, 0.0]))]
    halves.append((np.array([1, 2, 3, 9]), np.array([0.1, 0.2, 0.3, 0.0])))
    assert reliability(Tally.of(halves)) == pytest.approx(1.0)
    assert reliability(Tally.of([halves[0], (np.array([1, 2]), np.array([0.1, 0.2]))])) is None


@pytest.mark.parametrize("same_tasks", [False, True])
def test_the_corrected_value_is_that_of_endless_tasks(same_tasks):
    random = np.random.default_rng(1)
    one, rest = random.normal(size=(2, 4000))
    other = 0.6 * one + 0.8 * rest
    noise = random.normal(size=(2, 2, 4000))
    if same_tasks:
        noise[1] = noise[0]
    a, b = _tally(one, noise[0]), _tally(other, noise[1])
    wanted = spearmanr(one, other).statistic
    assert corrected(a, b) == pytest.approx(wanted, abs=0.05)
    assert abs(correlation(a, b) - wanted) > 0.1
    assert reliability(a) == pytest.approx(2 / 3, abs=0.03)


def test_what_is_all_chance_is_not_corrected():
    random = np.random.default_rng(2)
    sure, half = _tally(random.random(60)), random.random(60)
    assert corrected(sure, sure) == pytest.approx(1.0)
    for noise in ([half, random.permutation(half)], [half, -half], [half, 0 * half]):
        chance = _tally(np.zeros(60), np.stack(noise))
        assert (reliability(chance) or 0) < 0.1
        assert corrected(chance, sure) is None
        assert corrected(sure, chance) is None
        assert agreement("classes", [chance, sure]).corrected is None


def test_the_agreement_is_over_all_two_runs():
    runs = [_tally(v) for v in ([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.4, 0.3], [0.4, 0.3, 0.2, 0.1])]
    found = agreement("pairs", runs)
    each = [0.8, -1.0, -0.8]
    assert (found.of, found.shared) == ("pairs", 4)
    assert (found.mean, found.lowest, found.highest) == pytest.approx((np.mean(each), min(each), max(each)))
    assert (found.reliability, found.corrected) == pytest.approx((1.0, np.mean(each)))


def test_the_reliability_is_the_mean_over_the_runs():
    sure, half = _tally([0.1, 0.2, 0.3]), _tally([0, 0, 0], [[0.1, 0.2, 0.3], [0.1, 0.3, 0.2]])  # 1 and 2/3
    assert agreement("classes", [sure, half]).reliability == pytest.approx(5 / 6)


def test_the_corrected_mean_is_at_most_1():
    truth = np.arange(12.0)
    pull = np.where(truth % 2, 3.0, -3.0)
    one, other = _tally(truth, [pull, 0 * pull]), _tally(truth, [0 * pull, pull])  # a as d, b as c
    assert corrected(one, other) > 1
    assert agreement("classes", [one, other]).corrected == 1


def test_the_hardest_of_all_runs_have_the_lowest_mean_rank():
    one = _tally([0.1, 0.2, 0.3, 0.9, 0.0], units=[2, 3, 5, 7, 8], count=50)
    other = _tally([0.6, 0.1, 0.2, 0.9, 0.0], units=[2, 3, 5, 7, 9], count=50)
    rows = hardest([one, other], 3, low_is_hard=True)  # units 8 and 9 are of one run each
    assert [row[:2] for row in rows] == [(3, 1.5), (2, 2.0), (5, 2.5)]
    assert rows[1][2] == pytest.approx((0.1, 0.6))
    assert [row[0] for row in hardest([one, other], 9, low_is_hard=False)] == [7, 5, 2, 3]


def test_a_unit_met_once_does_not_lead_by_luck():
    count = np.array([1, 50, 50])
    runs = [_tally([0.0, 0.3, 0.9], count=count)] * 2
    assert hardest(runs, 1, low_is_hard=True)[0][0] == 1
    assert hardest([_tally([1.0, 0.7, 0.1], count=count)] * 2, 1, low_is_hard=False)[0][0] == 1


def test_a_ledger_gives_the_sums_that_its_views_show(ledger, random_solved):
    for number in range(3):
        ledger.append("meta-train", number, number, *random_solved(40, 4, 9, number), "train")
    numbers = {str(c): 20 - c for c in range(9)}
    classes, pairs = read_tallies(ledger, ledger.phase("meta-train"), numbers)
    rows = ledger.sql.execute("SELECT class, correct, queries, draws FROM class_total").fetchall()
    of_classes = {20 - c: (right / n, draws) for c, right, n, draws in rows}
    assert dict(zip(classes.units.tolist(), classes.means(), strict=True)) == pytest.approx(
        {unit: recall for unit, (recall, _) in of_classes.items()}, abs=1e-5
    )
    assert classes.count.sum(0).tolist() == [of_classes[unit][1] for unit in classes.units.tolist()]
    rows = pair_sums(ledger, ledger.phase("meta-train"), None).most_confused(99)
    of_pairs = {(20 - high) << 32 | (20 - low): (a + b) / (2 * n) for low, high, a, b, n in rows}
    assert dict(zip(pairs.units.tolist(), pairs.means(), strict=True)) == pytest.approx(of_pairs, abs=1e-3)


def test_halves_share_whatever_comes_back_regularly(ledger, solved):
    """A meta-test meets the classes in their order every 8 steps, each time with the same numbers."""
    tasks = [[c, 8] for c in range(8)]
    for step in range(0, 320, 8):
        ledger.append("p", step // 8, step, *solved(tasks, [[0.5, 0.5]] * 8), "train")
    classes, _ = read_tallies(ledger, ledger.phase("p"), {str(c): c for c in range(9)})
    assert classes.count.sum(0).tolist() == [40] * 8 + [320]
    assert classes.count.min() >= 16


def test_classes_are_matched_by_their_names(made_run, capsys):
    # The ids of b are in another order, and each run has a class of its own.
    other = {"fox": 1.0, **{name: RECALL[name] / 2 for name in ("dog", "cat", "bee", "ant")}}
    whole = json.loads(_shown(capsys, made_run("a", RECALL), made_run("b", other), "--format", "json"))
    (phase,) = whole["phases"]
    classes, pairs = phase["agreement"]
    assert (phase["phase"], phase["runs"]) == (PHASE, [1, 2])
    assert (classes["shared"], pairs["shared"]) == (4, 6)
    assert [classes[k] for k in FIGURES] == pytest.approx([1.0] * 5)
    assert [row["classes"] for row in phase["hardest_classes"]] == [["ant"], ["bee"], ["cat"], ["dog"]]
    assert phase["hardest_classes"][3]["values"] == [0.75, 0.375]
    first = phase["most_confused_pairs"][0]
    assert (first["classes"], first["mean_rank"]) == (["ant", "bee"], 1.0)
    assert first["values"] == pytest.approx([(0.5 + 0.375) / 2, (0.5 + 0.4375) / 2], abs=1e-3)


def test_an_evaluation_counts_its_first_round_alone(made_run, capsys):
    runs = made_run("a", RECALL, again=1.0), made_run("b", RECALL)
    (phase,) = json.loads(_shown(capsys, *runs, "--format", "json"))["phases"]
    assert phase["hardest_classes"][0]["values"] == [0.0, 0.0]


def test_a_phase_is_of_the_runs_that_have_it(made_run, capsys):
    a, b, c = (made_run(name, RECALL) for name in "abc")
    for name in "ac":
        made_run(name, RECALL, phase="meta-train", split="train")
    made_run("b", RECALL, phase="of one run")
    phases = json.loads(_shown(capsys, a, b, c, "--format", "json"))["phases"]
    assert {p["phase"]: p["runs"] for p in phases} == {PHASE: [1, 2, 3], "meta-train": [1, 3]}


def test_a_phase_without_common_classes_has_no_correlation(made_run, capsys):
    for name in "ab":
        made_run(name, RECALL)
        made_run(name, {f"{name}{c}": r for c, r in RECALL.items()}, phase="meta-train", split="train")
    shown = _shown(capsys, *(made_run(name, RECALL).parent / name for name in "ab"))
    of_phase = shown[shown.index("meta-train") :].splitlines()
    classes = next(line.split() for line in of_phase if line.startswith(" classes"))
    assert classes == ["classes", "0", "–", "–", "–", "1.000", "–"]  # each run still agrees with itself
    assert "Hardest" not in "".join(of_phase)


def test_phases_of_one_episode_or_none_are_no_error(tmp_path, solved, capsys):
    for name in "ab":
        (tmp_path / name).mkdir()
        with Ledger.open(tmp_path / name / "hard_tasks.sqlite") as ledger:
            ledger.add_round("meta-train", "train", RoundRow(0, 0, "task", 1, None, 0.0, 0.5, 0.5))
            ledger.append(PHASE, 0, 0, *solved([[0, 1, 2]], [[0.5, 0.25, 0.0]]), "test")
            ledger.commit("1")
    (phase,) = json.loads(_shown(capsys, tmp_path / "a", tmp_path / "b", "--format", "json"))["phases"]
    classes, _ = phase["agreement"]
    assert [classes[k] for k in FIGURES] == [pytest.approx(1.0)] * 3 + [None, None]


def test_tables_and_csv_say_the_same(made_run, capsys):
    runs = made_run("a", RECALL), made_run("b", dict(zip(RECALL, (0.25, 0.0, 0.5, 0.75, 1.0), strict=True)))
    table = _shown(capsys, *runs, "--top", "2")
    rows = list(csv.DictReader(io.StringIO(_shown(capsys, *runs, "--top", "2", "--format", "csv"))))
    assert [(row["view"], row["rank"]) for row in rows] == [
        (view, rank) for view in ("agreement", "hardest_classes", "most_confused_pairs") for rank in "12"
    ]
    assert float(rows[0]["mean"]) == pytest.approx(0.9)
    assert json.loads(rows[2]["classes"]) == ["ant"]
    assert json.loads(rows[2]["values"]) == [0.0, 0.25]
    words = [line.split() for line in table.splitlines()]
    assert ["classes", "5", "0.900", "0.900", "0.900", "1.000", "0.900"] in words
    assert ["ant", "1.5", "0.0", "25.0"] in words
    assert ["bee", "1.5", "25.0", "0.0"] in words
    assert not [line for line in words if line and line[0] == "cat"]
    assert f"run 2: {runs[1]}" in table


def test_what_cannot_be_compared_is_one_sentence(made_run, tmp_path, capsys):
    a, other = made_run("a", RECALL), made_run("b", RECALL, phase="meta-train")
    strange = made_run("c", {name.upper(): recall for name, recall in RECALL.items()}, split="val")
    (tmp_path / "empty").mkdir()
    for arguments, facts in (
        ([a], ("at least two",)),
        ([a, tmp_path / "a" / ".." / "a"], ("twice", str(a))),
        ([a, tmp_path / "empty"], ("no ledger", "empty")),
        ([a, tmp_path / "nowhere"], ("no ledger", "nowhere")),
        ([a, other], (PHASE, "meta-train", "in common")),
        ([a, strange], (PHASE, "test classes ant, bee, cat and 2 more", "val classes ANT", "in common")),
        ([a, made_run("d", RECALL), "--top", "0"], ("top", "0")),
    ):
        assert main(["agreement", *map(str, arguments)]) == 2
        out, told = capsys.readouterr()
        assert (out, told.count("\n")) == ("", 1)
        assert [fact for fact in ("error: ", *facts) if fact not in told] == []


def test_three_runs_of_which_two_share_classes_are_compared(made_run, capsys):
    runs = [made_run(name, RECALL) for name in "ab"]
    runs.append(made_run("c", {name.upper(): recall for name, recall in RECALL.items()}))
    for order in permutations(runs):
        (phase,) = json.loads(_shown(capsys, *order, "--format", "json"))["phases"]
        classes, _ = phase["agreement"]
        assert (classes["shared"], classes["mean"]) == (0, pytest.approx(1.0))
        assert phase["hardest_classes"] == []


def test_a_real_run_agrees_with_its_copy(whole_run, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "hard_tasks.sqlite").write_bytes(whole_run.ledger.read_bytes())
    phases = json.loads(_shown(capsys, whole_run.path, copy, "--format", "json"))["phases"]
    assert len(phases) == 3
    means = [found["mean"] for phase in phases for found in phase["agreement"]]
    assert means == pytest.approx([1.0] * 6)
