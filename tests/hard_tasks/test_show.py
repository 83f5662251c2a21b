import csv
import io
import json

import pytest
import torch

from mtl.errors import UserError
from mtl.hard_tasks.ledger import Ledger, Round
from mtl.hard_tasks.show import render

HOSTILE = {
    0: "<script>alert(1)</script>",
    1: "quotes \"double\", 'single', and; semicolon",
    2: "[red]markup[/red] [link=x]",
    3: "line\nend\r\x1b[31m",
    4: "=1+1",
    5: "日本語 ñ 𝕏",
}


@pytest.fixture
def ledger(tmp_path, solved):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.register_classes("train", HOSTILE, {0: "[bold]g"})
        ledger.register_classes("test", {0: "ant", 1: "bee"})
        ledger.append("meta-train", 0, 0, *solved([[0, 1, 2], [3, 4, 5]], [[0.5, 0.25, 0.0]] * 2), "train")
        ledger.append("meta-train", 1, 50, *solved([[2, 0, 1]], [[0.5, 0.5, 0.5]], "hard"), "train")
        record = Round(1, 50, "class", 2, float("nan"), 0.5, 0.25, 0.5)
        ledger.add_round("meta-train", "train", record, torch.rand(6), lambda u: u[:, None])
        ledger.append("evaluate test", 0, 0, *solved([[0, 1]], [[0.5, 0.25]]), "test")
        ledger.set_verdict("evaluate test", [0, 1], "unlucky support")
        yield ledger


def test_json_is_one_object_with_every_view(ledger):
    whole = json.loads(render(ledger, format="json"))
    assert [phase["phase"] for phase in whole["phases"]] == ["meta-train", "evaluate test"]
    train, test = whole["phases"]
    assert train["episodes"] == 3
    assert train["rounds"] == [
        {"round": 1, "step": 50, "unit": "class", "pool": 2, "epsilon": None, "alpha": 0.5,
         "accuracy": 0.25, "hard_share": 0.5}
    ]  # fmt: skip
    assert {name for task in train["hardest_tasks"] for name in task["classes"]} == set(HOSTILE.values())
    assert {row["name"] for row in train["hardest_classes"]} == set(HOSTILE.values())
    assert len(train["most_confused_pairs"]) == 6
    assert test["hardest_tasks"][0]["verdict"] == "unlucky support"


def test_csv_is_one_table_that_reads_back(ledger):
    rows = list(csv.DictReader(io.StringIO(render(ledger, format="csv"), newline="")))
    assert {None} & {key for row in rows for key in row} == set()
    counts = {}
    for row in rows:
        counts[row["phase"], row["view"]] = int(row["rank"])
    assert counts == {
        ("meta-train", "rounds"): 1,
        ("meta-train", "hardest_tasks"): 2,
        ("meta-train", "hardest_classes"): 6,
        ("meta-train", "most_confused_pairs"): 6,
        ("evaluate test", "hardest_tasks"): 1,
        ("evaluate test", "hardest_classes"): 2,
        ("evaluate test", "most_confused_pairs"): 1,
    }
    classes = [
        json.loads(r["classes"]) for r in rows if (r["phase"], r["view"]) == ("meta-train", "hardest_classes")
    ]
    assert {name for (name,) in classes} == set(HOSTILE.values())
    first = next(r for r in rows if r["view"] == "rounds")
    assert (first["classes"], first["epsilon"], first["alpha"], first["recall"]) == ("", "", "0.5", "")


@pytest.mark.parametrize("width", [80, 120])
def test_tables_keep_every_name_and_obey_none(ledger, width):
    text = render(ledger, width=width)
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= width
    assert "\x1b" not in text
    assert "\r" not in text
    for title in ("Rounds", "Hardest tasks", "Hardest classes", "Most confused pairs"):
        assert title in text
    assert "evaluate test: 1 episode, test classes" in text
    assert "unlucky" in text
    joined = "".join(text.split())
    assert "[red]markup[/red]" in joined
    assert "[bold]g" in joined
    assert r"line\nend" in joined
    assert "<script>" in joined
    assert "日本語" in joined


def test_tables_at_80_columns_do_not_cut_long_names(tmp_path, solved):
    names = {c: f"Alphabet_of_the_Magi/character{c:02d}/rotated_{90 * c}_degrees" for c in range(5)}
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.register_classes("train", names, dict.fromkeys(range(5), "Alphabet_of_the_Magi"))
        ledger.append("p", 0, 0, *solved([[0, 1, 2, 3, 4]], [[0.5] * 5]), "train")
        ledger.set_task_weights("p", torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([0.123]))
        ledger.set_verdict("p", range(5), "hard classes")
        text = render(ledger, width=80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    tasks = text[text.index("Hardest tasks") : text.index("Hardest classes")]
    first_cells = "".join(line[1:30].split("  ")[0].strip() for line in tasks.splitlines()[3:])
    for name in names.values():
        assert name in first_cells.replace(" ", "")
    for figure in ("50.0", "0.12", "hard"):
        assert figure in tasks


def test_a_round_shows_the_phases_that_have_it(ledger):
    whole = json.loads(render(ledger, round=1, format="json"))
    assert whole["round"] == 1
    assert [phase["phase"] for phase in whole["phases"]] == ["meta-train"]
    assert whole["phases"][0]["hardest_tasks"][0]["seen"] == 1
    assert "meta-train: 3 episodes, train classes, round 1" in render(ledger, round=1)
    with pytest.raises(UserError, match="round 7: no phase of"):
        render(ledger, round=7)


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_top_bounds_every_view(ledger, form):
    assert len(render(ledger, top=1, format=form)) < len(render(ledger, top=5, format=form))
    with pytest.raises(UserError, match="at least 1 row"):
        render(ledger, top=0, format=form)


def test_an_empty_ledger(tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.commit("x")
    with Ledger.read(tmp_path / "l.sqlite") as ledger:
        assert "holds no episodes yet" in render(ledger)
        assert json.loads(render(ledger, format="json"))["phases"] == []
        assert render(ledger, format="csv").startswith("phase,split,view,rank,classes,")
        assert len(render(ledger, format="csv").splitlines()) == 1
        with pytest.raises(UserError, match="round 0: no phase"):
            render(ledger, round=0)


def test_tables_name_the_first_classes_of_tasks_of_many_ways():
    from mtl.hard_tasks.tables import _listed

    names = [f"c{i}" for i in range(60)]
    assert _listed(names[:7]) == "c0, c1, c2, c3, c4, c5, c6"
    assert _listed(names) == "c0, c1, c2, c3, c4, c5 and 54 more"
