import csv
import io
import json

import pytest
import torch

from mtl.errors import UserError
from mtl.ledger import tables
from mtl.ledger.show import latest_tables, render
from mtl.ledger.store import Ledger, Round

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
    from mtl.ledger.tables import _listed

    names = [f"c{i}" for i in range(60)]
    assert _listed(names[:7]) == "c0, c1, c2, c3, c4, c5, c6"
    assert _listed(names) == "c0, c1, c2, c3, c4, c5 and 54 more"


@pytest.fixture
def watched(tmp_path, solved):
    """Four rounds: a task of ant, bee and cat in each, one of cat, dog and eel in the first alone."""
    names = {0: "ant", 1: "bee", 2: "cat", 3: "dog", 4: "eel"}
    recall = [[0.0, 0.5, 0.25], [0.5, 0.5, 0.5], [0.75, 0.5, 0.25], [1.0, 0.75, 0.5]]
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.register_classes("train", names)
        for number, row in enumerate(recall):
            ledger.append("p", number, number, *solved([[0, 1, 2]], [row]), "train")
            if number == 0:
                ledger.append("p", 0, 0, *solved([[2, 3, 4]], [[0.25, 1.0, 1.0]]), "train")
            ledger.add_round("p", "train", Round(number, number, "task", 1, None, 0.0, sum(row) / 3, 0.5))
        yield ledger


def test_json_has_each_visit_of_a_task_and_the_recall_of_a_class_over_the_rounds(watched):
    (phase,) = json.loads(render(watched, format="json"))["phases"]
    first, second = phase["hardest_tasks"]
    assert first["classes"] == ["ant", "bee", "cat"]
    assert first["history"] == pytest.approx([0.25, 0.5, 0.5, 0.75])
    assert second["history"] == pytest.approx([0.75])
    recalls = {c["name"]: c["trend_over_rounds"] for c in phase["hardest_classes"]}
    assert recalls["ant"] == [0.0, 0.5, 0.75, 1.0]
    assert recalls["cat"] == [0.25, 0.5, 0.25, 0.5]
    assert recalls["dog"] == [1.0, None, None, None]


def test_a_round_keeps_the_course_of_the_whole_phase(watched):
    (phase,) = json.loads(render(watched, round=2, format="json"))["phases"]
    (task,) = phase["hardest_tasks"]
    assert task["history"] == pytest.approx([0.25, 0.5, 0.5, 0.75])
    assert "All 4 rounds" in render(watched, round=2)


def test_csv_has_its_documented_columns_alone(watched):
    header = render(watched, format="csv").splitlines()[0]
    assert "history" not in header
    assert "trend_over_rounds" not in header


def test_a_json_line_is_the_json_on_one_line(watched):
    line = render(watched, format="json line")
    assert line.count("\n") == 1
    assert json.loads(line) == json.loads(render(watched, format="json"))


def test_tables_draw_every_visit_and_every_round(watched):
    text = render(watched, width=80)
    assert "Hardest tasks (accuracy in %; ▁ is 20, █ is 80)" in text
    assert "Hardest classes (recall in %; ▁ is 0, █ is 100)" in text
    drawn = text[: text.index("Most confused pairs")].splitlines()
    rows = {line.split("  ")[0].strip(): line.split("  ")[-1].strip() for line in drawn}
    assert rows["ant, bee, cat"] == "▁▅▅█"
    assert rows["cat, dog, eel"] == "█"
    assert rows["ant"] == "▁▅▇█"
    assert rows["bee"] == "▅▅▅▇"
    assert rows["dog"] == "█"
    assert "All 4 rounds, from the first to the last" in text
    assert "accuracy  ▁▅▅█  25.0 to 75.0, at last 75.0" in text
    assert "\nε " not in text  # no round has one


def test_tables_of_one_round_and_one_visit_draw_nothing(tmp_path, solved):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.append("p", 0, 0, *solved([[0, 1]], [[0.5, 0.25]]), "train")
        ledger.add_round("p", "train", Round(0, 0, "task", 1, 0.5, 0.0, 0.375, 0.5))
        text = render(ledger, width=80)
    assert "by visit" not in text
    assert "by round" not in text
    assert "▁" not in text
    assert "rounds, from" not in text


@pytest.mark.parametrize(
    ("shares", "scale", "line"),
    [
        ([1.0, 1.0], "▁ is 90, █ is 100", "██"),
        ([0.0, 0.0], "▁ is 0, █ is 10", "▁▁"),
        ([0.3, 0.7], "▁ is 30, █ is 70", "▁█"),
        ([0.29, 0.71], "▁ is 20, █ is 80", "▂▇"),
        ([None, 0.5, 0.6, None], "▁ is 50, █ is 60", " ▁█ "),
    ],
)
def test_the_scale_goes_from_tenth_to_tenth(shares, scale, line):
    lines, told = tables._lines([shares])
    assert (lines, told) == ([line], f"; {scale}")


def test_long_courses_are_drawn_short(tmp_path, solved):
    """With all that a table may have, at 80 columns: a weight, a verdict, 60 visits, 60 rounds, a group."""
    names = {c: f"Alphabet_of_the_Magi/character{c:02d}" for c in range(5)}
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.register_classes("train", names, dict.fromkeys(range(5), "Alphabet_of_the_Magi"))
        for number in range(60):
            share = float(number >= 30)
            recall = [share, share, share, 1 - share, 0.5]
            ledger.append("p", number, number, *solved([[0, 1, 2, 3, 4]], [recall], "hard"), "train")
            epsilon = 1.0 - share / 2
            record = Round(number, 10**6 + number, "class", 1000, epsilon, 1.5, 1.0, 1.0)
            ledger.add_round("p", "train", record, torch.rand(5), lambda u: u[:, None])
        ledger.set_task_weights("p", torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([0.123]))
        ledger.set_verdict("p", range(5), "unlucky support")
        text = render(ledger, width=80)
        whole = json.loads(render(ledger, format="json"))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "accuracy  " + "▄" * 36 + "  100.0 to 100.0, at last 100.0" in text
    assert "ε         " + "█" * 18 + "▁" * 18 + "  0.500 to 1.000, at last 0.500" in text
    assert "▁▁▁▁▁▁██████" in text  # classes 0 to 2
    assert "██████▁▁▁▁▁▁" in text  # class 3
    joined = "".join(text.split())
    assert "unlucky" in joined
    assert "support" in joined
    assert len(whole["phases"][0]["hardest_tasks"][0]["history"]) == 60
    assert len(whole["phases"][0]["hardest_classes"][0]["trend_over_rounds"]) == 12


@pytest.mark.parametrize(("height", "rows"), [(33, 1), (34, 2), (41, 3), (1000, 5)])
def test_the_latest_phase_is_cut_to_the_height_of_a_terminal(tmp_path, random_solved, height, rows):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        for phase in ("meta-train", "evaluate"):
            ledger.append(phase, 0, 0, *random_solved(30, 3, 20, seed=3), phase)
            for number in range(8):
                record = Round(number, number, "class", 4, 0.1 * number, 0.5, 0.5, 0.5)
                ledger.add_round(phase, phase, record)
        text = latest_tables(ledger, 5, 100, height)
    assert text.startswith("evaluate: 30 episodes, evaluate classes\n")
    assert "meta-train" not in text
    shown = [line.split() for line in text.splitlines()]
    steps = [int(words[0]) for words in shown if len(words) == 8 and words[2] == "class"]
    assert steps == list(range(8))[-rows:]
    assert text.count("\n") <= height


@pytest.mark.parametrize(("height", "curves", "verdicts"), [(30, 1, 1), (27, 1, 0), (24, 0, 0), (1, 0, 0)])
def test_of_a_low_terminal_a_task_a_class_and_a_pair_have_the_room(
    tmp_path, random_solved, height, curves, verdicts
):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        batch, outcome = random_solved(30, 5, 20, seed=3)
        ledger.register_classes("test", {c: f"a class of the name {c}" for c in range(20)})
        ledger.append("evaluate", 0, 0, batch, outcome, "test")
        for task in batch.classes.sort().values.tolist():
            ledger.set_verdict("evaluate", task, "hard classes")
        for number in range(8):
            ledger.add_round("evaluate", "test", Round(number, 0, "task", 4, 0.1, 0.5, 0.5, 0.5))
        text = latest_tables(ledger, 5, 80, height)
    assert [text.count(word) for word in ("Hardest tasks", "Hardest classes", "confused pairs")] == [1, 1, 1]
    assert [text.count(word) for word in ("Rounds (", "All 8 rounds", "verdict")] == [0, curves, verdicts]
    assert text.count("\n") <= height or height == 1


def test_an_empty_ledger_has_no_latest_phase(tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        assert latest_tables(ledger, 5, 80, 24).endswith("the ledger holds no episodes yet.\n")
