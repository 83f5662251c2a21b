import pytest
import torch

from mtl.ledger.store import Ledger, RoundRow


@pytest.fixture
def solved(solved_tasks):
    return solved_tasks


@pytest.fixture
def ledger(tmp_path):
    """An empty ledger, open to write."""
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        yield ledger


HOSTILE = {
    0: "<script>alert(1)</script>",
    1: "quotes \"double\", 'single', and; semicolon",
    2: "[red]markup[/red] [link=x]",
    3: "line\nend\r\x1b[31m",
    4: "=1+1",
    5: "日本語 ñ 𝕏",
}


@pytest.fixture
def hostile(ledger, solved):
    """Two phases whose classes have names that a terminal or a table could obey."""
    ledger.register_classes("train", HOSTILE, {0: "[bold]g"})
    ledger.register_classes("test", {0: "ant", 1: "bee"})
    ledger.append("meta-train", 0, 0, *solved([[0, 1, 2], [3, 4, 5]], [[0.5, 0.25, 0.0]] * 2), "train")
    ledger.append("meta-train", 1, 50, *solved([[2, 0, 1]], [[0.5, 0.5, 0.5]], "hard"), "train")
    record = RoundRow(1, 50, "class", 2, float("nan"), 0.5, 0.25, 0.5)
    ledger.add_round("meta-train", "train", record, torch.rand(6), lambda u: u[:, None])
    ledger.append("evaluate test", 0, 0, *solved([[0, 1]], [[0.5, 0.25]]), "test")
    ledger.set_verdict("evaluate test", [0, 1], "unlucky support")
    return ledger


@pytest.fixture
def four_rounds(ledger, solved):
    """A task of ant, bee and cat in each of four rounds, one of cat, dog and eel in the first alone."""
    recall = [[0.0, 0.5, 0.25], [0.5, 0.5, 0.5], [0.75, 0.5, 0.25], [1.0, 0.75, 0.5]]
    ledger.register_classes("train", {0: "ant", 1: "bee", 2: "cat", 3: "dog", 4: "eel"})
    for number, row in enumerate(recall):
        ledger.append("p", number, number, *solved([[0, 1, 2]], [row]), "train")
        if number == 0:
            ledger.append("p", 0, 0, *solved([[2, 3, 4]], [[0.25, 1.0, 1.0]]), "train")
        ledger.add_round("p", "train", RoundRow(number, number, "task", 1, None, 0.0, sum(row) / 3, 0.5))
    return ledger
