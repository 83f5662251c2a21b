"""The exported log says what was appended, in a schema with a version; one row can be shown again."""

import io
import json
import sys
from dataclasses import fields, replace

import pytest
import torch

from mtl.errors import UserError
from mtl.ledger.log_export import SCHEMA, VERSION, export, write_jsonl
from mtl.ledger.show import render, render_episode
from mtl.ledger.task_history import SolvedEpisode, find_episode

NAMES = {0: "ant", 1: "bee\n", 2: "cäte", 3: "dog", 4: "eel"}


@pytest.fixture
def appended(ledger, random_solved, monkeypatch):
    """Two phases, and the batches that they are made of; they are exported in three pieces."""
    monkeypatch.setattr("mtl.ledger.log_export._CHUNK", 5)
    ledger.register_classes("train", NAMES)
    ledger.register_images("train", "print")
    batches = []
    for number in range(4):
        batch, outcome = random_solved(3, 3, 5, seed=number, origin=("uniform", "hard")[number % 2])
        outcome = replace(outcome, fisher=torch.rand(3)) if number else outcome
        phase = "meta-train" if number < 3 else "evaluate"
        ledger.append(phase, number // 2, 10 * number, batch, outcome, "train")
        batches.append((phase, number, batch, outcome))
    return ledger, batches


def _rows(ledger):
    out = io.StringIO()
    write_jsonl(ledger, out)
    first, *rows = map(json.loads, out.getvalue().splitlines())
    return first, rows


def test_lines_of_json_are_what_was_appended(appended):
    ledger, batches = appended
    first, rows = _rows(ledger)
    assert (first["schema"], first["version"], first["images"]) == (SCHEMA, VERSION, {"train": "print"})
    assert first["phases"] == [
        {"phase": "meta-train", "split": "train", "episodes": 9},
        {"phase": "evaluate", "split": "train", "episodes": 3},
    ]
    assert [row["id"] for row in rows] == [f"1-{n}" for n in range(9)] + [f"2-{n}" for n in range(3)]
    episodes = [
        (*of, t) for *of, batch, outcome in batches for of in [(*of, batch, outcome)] for t in range(3)
    ]
    for row, (phase, number, batch, outcome, t) in zip(rows, episodes, strict=True):
        assert list(row) == [field.name for field in fields(SolvedEpisode)]
        order = batch.classes[t].argsort()
        assert row["classes"] == batch.classes[t, order].tolist()
        assert row["names"] == [NAMES[c] for c in row["classes"]]
        assert (row["phase"], row["round"], row["step"]) == (phase, number // 2, 10 * number)
        assert (row["origin"], row["stream"]) == (batch.origin[t], batch.index[t])
        assert (row["way"], row["shot"], row["queries"]) == (3, 1, 5)
        assert row["support"] == batch.support[t, order].tolist()
        assert row["query"] == batch.query[t, order].tolist()
        assert row["recall"] == outcome.recall[t, order].tolist()
        for name in ("loss", "accuracy", "hardness"):
            assert row[name] == float(getattr(outcome, name)[t])
        assert row["fisher"] == (float(outcome.fisher[t]) if number else None)
        wrong = [
            (
                int(batch.query[t, n, q]),
                place,
                row["classes"].index(batch.classes[t, outcome.predicted[t, n, q]]),
            )
            for place, n in enumerate(order.tolist())
            for q in range(5)
            if outcome.predicted[t, n, q] != n
        ]
        found = [(answer["image"], answer["own"], answer["predicted"]) for answer in row["wrong"]]
        assert sorted(found) == sorted(wrong)
        assert [w["confidence"] for w in row["wrong"]] == sorted(
            (w["confidence"] for w in row["wrong"]), reverse=True
        )


def test_a_file_has_the_same_lines_and_is_written_whole_or_not_at_all(
    appended, tmp_path, monkeypatch, capsys
):
    ledger, _ = appended
    export(ledger, "jsonl", None)
    shown = capsys.readouterr().out
    export(ledger, "jsonl", tmp_path / "log.jsonl")
    assert (tmp_path / "log.jsonl").read_text("utf-8") == shown
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("mtl.ledger.log_export.plain_episode", lambda episode: {"id": object()})
    with pytest.raises(TypeError):
        export(ledger, "jsonl", tmp_path / "log.jsonl")
    assert (tmp_path / "log.jsonl").read_text("utf-8") == shown
    assert sorted(tmp_path.iterdir()) == before


def test_parquet_has_the_same_rows_and_header(appended, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    ledger, _ = appended
    export(ledger, "parquet", tmp_path / "log.parquet")
    table = parquet.read_table(tmp_path / "log.parquet")
    first, rows = _rows(ledger)
    assert json.loads(table.schema.metadata[SCHEMA.encode()]) == first
    assert table.to_pylist() == rows


def test_parquet_without_its_package_says_what_to_install(appended, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install .*pyarrow"):
        export(appended[0], "parquet", tmp_path / "log.parquet")
    assert not (tmp_path / "log.parquet").exists()


@pytest.mark.parametrize(("format", "name"), [("jsonl", "hard_tasks.sqlite"), ("parquet", "log.jsonl")])
def test_a_file_of_another_kind_is_never_replaced(appended, tmp_path, format, name):
    with pytest.raises(UserError, match=f"{name}.*{format}"):
        export(appended[0], format, tmp_path / name)


def test_figures_that_are_not_finite_are_unknown(ledger, random_solved):
    batch, outcome = random_solved(1, 3, 5, seed=0)
    ledger.append("p", 0, 0, batch, replace(outcome, hardness=torch.tensor([-torch.inf])), "train")
    assert _rows(ledger)[1][0]["hardness"] is None


def test_one_episode_is_the_row_of_the_log(appended):
    ledger, _ = appended
    rows = _rows(ledger)[1]
    for row in (rows[4], rows[11]):
        assert json.loads(render_episode(ledger, row["id"], "runs/x", "json")) == row


def test_one_episode_as_text_has_its_facts_and_the_command_that_shows_it_again(appended):
    ledger, _ = appended
    row = _rows(ledger)[1][4]
    text = render_episode(ledger, "1-4", "runs/my run", width=140)
    facts = [
        "Episode 1-4", "meta-train", f"round {row['round']}", f"step {row['step']}", "hard",
        f"number {row['stream']} ", f"accuracy {100 * row['accuracy']:.1f}",
        f"hardness {row['hardness']:.3f}", f"{row['fisher']:.3f}", "cäte",
    ]  # fmt: skip
    assert [fact for fact in facts if fact not in text] == []
    images = [i for part in (*row["support"], *row["query"]) for i in part]
    assert set(map(str, images)) <= set(text.split())
    assert len(row["wrong"]) > 1
    assert text.count("\n") > len(row["wrong"])
    assert text.endswith("python run_meta.py hard-tasks 'runs/my run' --task 1-4\n")


def test_single_answers_that_were_not_recorded_are_said_to_be_missing(ledger, solved):
    ledger.append("p", 0, 0, *solved([[0, 1]], [[0.5, 0.5]]), "train")
    assert render_episode(ledger, "1-0", "x").splitlines()[-3:-1] == ["Single answers were not recorded.", ""]


@pytest.mark.parametrize("id", ["1-9", "3-0", "0-0", "1", "x", "1-", "-1-0", "1-0-0", "99999999999999-1"])
def test_an_id_that_is_not_there_is_one_sentence_with_what_there_is(appended, id):
    ledger, _ = appended
    with pytest.raises(UserError) as error:
        find_episode(ledger, id)
    assert f"no episode {id};" in str(error.value)
    assert "1-0 to 1-8 (meta-train), 2-0 to 2-2 (evaluate)" in str(error.value)


def test_the_hardest_tasks_have_the_id_and_the_hardness_of_their_worst_visit(appended):
    ledger, _ = appended
    by_id = {row["id"]: row for row in _rows(ledger)[1]}
    for phase in json.loads(render(ledger, format="json"))["phases"]:
        for task in phase["hardest_tasks"]:
            row = by_id[task["id"]]
            assert row["names"] == task["classes"]
            assert row["accuracy"] == min(task["history"])
            assert (task["hardness"], task["fisher"]) == (row["hardness"], row["fisher"])
