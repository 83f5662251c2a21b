"""JSON and CSV of every view, and what a round or a number of rows leaves of them."""

import csv
import io
import json

import pytest

from mtl.errors import UserError
from mtl.ledger.show import render
from mtl.ledger.store import Ledger

NAMES = {
    "<script>alert(1)</script>", "quotes \"double\", 'single', and; semicolon", "[red]markup[/red] [link=x]",
    "line\nend\r\x1b[31m", "=1+1", "日本語 ñ 𝕏",
}  # fmt: skip


def test_json_is_one_object_with_every_view(hostile):
    whole = json.loads(render(hostile, format="json"))
    assert [phase["phase"] for phase in whole["phases"]] == ["meta-train", "evaluate test"]
    train, test = whole["phases"]
    assert train["episodes"] == 3
    assert train["rounds"] == [
        {"round": 1, "step": 50, "unit": "class", "pool": 2, "epsilon": None, "alpha": 0.5,
         "accuracy": 0.25, "hard_share": 0.5}
    ]  # fmt: skip
    assert {name for task in train["hardest_tasks"] for name in task["classes"]} == NAMES
    assert {row["name"] for row in train["hardest_classes"]} == NAMES
    assert len(train["most_confused_pairs"]) == 6
    assert test["hardest_tasks"][0]["verdict"] == "unlucky support"
    line = render(hostile, format="json line")
    assert line.count("\n") == 1
    assert json.loads(line) == whole


def test_csv_is_one_table_that_reads_back(hostile):
    rows = list(csv.DictReader(io.StringIO(render(hostile, format="csv"), newline="")))
    assert list(rows[0]) == [
        "phase", "split", "view", "rank", "classes", "round", "step", "unit", "pool", "epsilon", "alpha",
        "accuracy", "hard_share", "members", "first", "last", "mean", "drawn", "trained", "weight", "seen",
        "resampled", "verdict", "group", "recall", "low", "high", "queries", "draws", "hard_draws", "early",
        "late", "trend", "confusion", "first_as_second", "second_as_first", "n", "image", "asked", "wrong",
        "taken_for", "supports", "unlucky", "id", "hardness", "fisher",
    ]  # fmt: skip
    assert {(row["phase"], row["view"]): int(row["rank"]) for row in rows} == {
        ("meta-train", "rounds"): 1,
        ("meta-train", "hardest_tasks"): 2,
        ("meta-train", "hardest_classes"): 6,
        ("meta-train", "most_confused_pairs"): 6,
        ("evaluate test", "hardest_tasks"): 1,
        ("evaluate test", "hardest_classes"): 2,
        ("evaluate test", "most_confused_pairs"): 1,
    }
    classes = [r for r in rows if (r["phase"], r["view"]) == ("meta-train", "hardest_classes")]
    assert {name for r in classes for name in json.loads(r["classes"])} == NAMES
    first = next(r for r in rows if r["view"] == "rounds")
    assert (first["classes"], first["epsilon"], first["alpha"], first["recall"]) == ("", "", "0.5", "")


def test_a_round_shows_the_phases_that_have_it(hostile):
    whole = json.loads(render(hostile, round=1, format="json"))
    assert whole["round"] == 1
    assert [phase["phase"] for phase in whole["phases"]] == ["meta-train"]
    assert whole["phases"][0]["hardest_tasks"][0]["seen"] == 1
    assert "meta-train: 3 episodes, train classes, round 1" in render(hostile, round=1)
    with pytest.raises(UserError, match="round 7: no phase of"):
        render(hostile, round=7)


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_top_bounds_every_view(hostile, form):
    assert len(render(hostile, top=1, format=form)) < len(render(hostile, top=5, format=form))
    with pytest.raises(UserError, match="top: 0"):
        render(hostile, top=0, format=form)


def test_an_empty_ledger(ledger):
    ledger.commit("x")
    with Ledger.read(ledger.path) as empty:
        assert "holds no episodes yet" in render(empty)
        assert json.loads(render(empty, format="json"))["phases"] == []
        assert len(render(empty, format="csv").splitlines()) == 1
        with pytest.raises(UserError, match="round 0: no phase"):
            render(empty, round=0)


@pytest.mark.parametrize("round_", [None, 2])
def test_json_has_the_visits_of_tasks_and_the_recall_of_classes_over_the_whole_phase(four_rounds, round_):
    (phase,) = json.loads(render(four_rounds, round=round_, format="json"))["phases"]
    first, *others = phase["hardest_tasks"]
    assert first["classes"] == ["ant", "bee", "cat"]
    assert first["history"] == pytest.approx([0.25, 0.5, 0.5, 0.75])
    recalls = {c["name"]: c["trend_over_rounds"] for c in phase["hardest_classes"]}
    assert recalls["ant"] == [0.0, 0.5, 0.75, 1.0]
    assert recalls["cat"] == [0.25, 0.5, 0.25, 0.5]
    if round_ is None:
        assert others[0]["history"] == pytest.approx([0.75])
        assert recalls["dog"] == [1.0, None, None, None]
    assert "All 4 rounds" in render(four_rounds, round=round_)


def test_a_class_has_its_recall_in_twelve_bins_at_most(ledger, solved):
    for number in range(60):
        ledger.append("p", number, number, *solved([[0, 1]], [[float(number >= 30), 0.5]]), "train")
    (phase,) = json.loads(render(ledger, format="json"))["phases"]
    assert len(phase["hardest_tasks"][0]["history"]) == 60
    recalls = {c["name"]: c["trend_over_rounds"] for c in phase["hardest_classes"]}
    assert recalls["0"] == [0.0] * 6 + [1.0] * 6
