"""What own images are promised, measured on a tiny run; the measures themselves against plain loops."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from benchmarks import recall_intervals
from benchmarks.own_images import (
    TABLES,
    auroc,
    calibration_error,
    classes_of,
    labels,
    main,
    tasks,
)
from mtl.runtime.seeds import generator


@pytest.fixture(scope="module")
def classes(whole_run):
    return classes_of(whole_run.path, None, novel=False)


@pytest.mark.parametrize("table", TABLES)
def test_each_table_is_markdown(table, whole_run, capsys):
    assert main([table, "--run", str(whole_run.path), "--tasks", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[1] == "|" + "---:|" * (lines[0].count("|") - 1)
    rows = [line.split(" | ")[:2] for line in lines[2:]]
    shots = {
        "calibration": ["1", "2", "5", "1 to 7"],
        "labels": ["3", "5"],
        "outlook": ["2", "3", "5", "1 to 7"],
        "open_set": [],  # there are no ten classes
    }
    assert rows == [["| 5", shot] for shot in shots[table]]


def test_the_classes_that_are_asked_for_are_embedded(whole_run, classes):
    assert (classes.count, classes.fewest, len(classes.features)) == (5, 12, 60)
    novel = classes_of(whole_run.path, None, novel=True)
    assert (novel.count, novel.fewest) == (6, 12)
    assert len(classes.embedder.temperatures) == 4


def test_a_run_that_was_never_calibrated_is_calibrated_the_same(whole_run, classes, tmp_path):
    (tmp_path / "run").mkdir()
    for file in whole_run.path.iterdir():
        if file.is_file() and file.name != whole_run.calibration.name:
            (tmp_path / "run" / file.name).write_bytes(file.read_bytes())
    found = classes_of(tmp_path / "run", None, novel=False).embedder.temperatures
    assert dict(found) == pytest.approx(dict(classes.embedder.temperatures), rel=1e-2)


def test_queries_are_no_support_images_and_others_of_other_classes(classes):
    seen = set()
    for task in tasks(classes, 3, None, 12, 4, others=2):
        held = task.fitted.support
        seen |= set(held.counts().tolist())
        rows = [int(file) for file in held.files]
        assert torch.equal(classes.features[rows], held.features)
        own = {classes.labels[row].item() for row in rows}
        asked = [(classes.features == query).all(1).nonzero().item() for query in task.queries]
        assert not set(asked) & set(rows)
        of_each = {int(held.labels[i]): classes.labels[row].item() for i, row in enumerate(rows)}
        assert [of_each[label] for label in task.labels.tolist()] == classes.labels[asked].tolist()
        others = {
            classes.labels[(classes.features == query).all(1).nonzero().item()].item()
            for query in task.others
        }
        assert len(others) == 2
        assert not others & own
    assert min(seen) == 1
    assert 4 < max(seen) <= 7


def test_a_wrong_label_is_the_first_images_alone(classes):
    for right, wrong in zip(tasks(classes, 3, 4, 5, 2), tasks(classes, 3, 4, 5, 2, wrong=True), strict=True):
        if right.fitted.support.files != wrong.fitted.support.files:
            continue  # what is drawn for the label moves all that is drawn later
        assert wrong.fitted.support.labels[0] != right.fitted.support.labels[0]
        assert torch.equal(wrong.fitted.support.labels[1:], right.fitted.support.labels[1:])
        break
    else:
        pytest.fail("the first task must be the same")


def test_the_shares_of_named_images_are_counted(classes, monkeypatch):
    class Named:
        def __init__(self, *rows):
            self.label_issues = [type("", (), {"row": row}) for row in rows]

    coming = [Named(0, 3), Named(), Named(2), Named(), Named(1), Named()] * 2
    monkeypatch.setattr("benchmarks.own_images.self_assessment", lambda _: coming.pop(0))
    found = list(labels(classes, 3))[1:]
    assert found[0] == (
        5,
        3,
        15,
        pytest.approx(1 / 3),
        pytest.approx(2 / 42),
        pytest.approx(1 / 3),
        "0.33 a task",
    )


def test_the_calibration_error_is_that_of_loops():
    random = generator(0, "error")
    probabilities = torch.softmax(3 * torch.randn(500, 4, generator=random).double(), -1)
    truth = torch.randint(4, (500,), generator=random)
    wanted = 0.0
    for k in range(15):
        part = [
            (p.max().item(), p.argmax().item() == y)
            for p, y in zip(probabilities, truth.tolist(), strict=True)
            if k / 15 < p.max() <= (k + 1) / 15
        ]
        if part:
            confidence, right = np.mean(part, 0)
            wanted += len(part) / 500 * abs(confidence - right)
    assert calibration_error(probabilities, truth) == pytest.approx(wanted)
    assert calibration_error(torch.eye(2, dtype=torch.float64), torch.tensor([0, 1])) == 0
    assert calibration_error(torch.eye(2, dtype=torch.float64), torch.tensor([1, 0])) == 1


def test_the_auroc_is_that_of_sklearn():
    known, others = torch.tensor([0.1, 0.5, 0.3]), torch.tensor([0.5, 0.2, 0.9, 0.3])
    truth, values = [0] * 3 + [1] * 4, torch.cat([known, others])
    assert auroc(known, others).item() == pytest.approx(roc_auc_score(truth, values))


def test_coverage_of_recalls_is_a_table_of_every_setting(whole_run, capsys):
    arguments = ["--run", str(whole_run.path), "--many", "2000", "--evaluations", "2"]
    assert recall_intervals.main(arguments) == 0
    head, _, *rows = (
        [c.strip() for c in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()
    )
    assert [row[:3] for row in rows] == [["3", shot, n] for shot in "12" for n in ("2000", "300", "100")]
    shares = np.array([row[4:6] for row in rows], dtype=float)
    assert head[4:6] == ["queries independent", "by task"]
    assert (shares[:, 1] >= shares[:, 0]).all()
    assert (shares[:, 1] > 0.8).all()
