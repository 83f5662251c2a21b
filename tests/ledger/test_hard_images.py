"""Single images against a plain loop over the episodes."""

import csv
import io
import json
from collections import Counter, defaultdict

import numpy as np
import pytest

import mtl.ledger.hard_images as module
from mtl.ledger.hard_images import HardImage, hardest_images
from mtl.ledger.show import render
from mtl.ledger.task_history import solved_episodes

NAMES = {0: "ant", 1: "bee", 2: "cat", 3: "dog", 4: "eel"}


def _by_hand(ledger, phase, rounds):
    """Every image with a wrong answer, from the episodes one by one."""
    episodes = [e for e in solved_episodes(ledger) if e.phase == phase and e.round in rounds]
    recalls = sorted(r for e in episodes for r in e.recall)
    quartile = recalls[-(-len(recalls) // 4) - 1]
    asked, wrong, supports, unlucky = (Counter() for _ in range(4))
    taken, own = defaultdict(Counter), {}
    for e in episodes:
        for place, (support, query) in enumerate(zip(e.support, e.query, strict=True)):
            supports.update(support)
            if e.recall[place] <= quartile and e.recall[place] < 1:
                unlucky.update(support)
            if e.wrong is not None:
                asked.update(query)
                own |= dict.fromkeys(query, e.classes[place])
        for answer in e.wrong or ():
            wrong[answer.image] += 1
            taken[answer.image][e.classes[answer.predicted]] += 1
    found = [
        HardImage(
            i, NAMES[own[i]], asked[i], n, NAMES[min(taken[i], key=lambda c, i=i: (-taken[i][c], c))],
            supports[i], unlucky[i],
        )
        for i, n in wrong.items()
    ]  # fmt: skip
    return sorted(found, key=lambda row: (-row.wrong / (row.asked + 1), row.image))


@pytest.fixture
def drawn(ledger, solved, random_solved):
    """Episodes of few images, of two shapes, some without single answers; and an evaluation."""
    ledger.register_classes("train", NAMES)
    for number in range(40):
        batch, outcome = random_solved(4, 2 + number % 2, 5, seed=number, queries=4)
        for images in (batch.support, batch.query):  # 7 of each class
            images.copy_(batch.classes[..., None] * 7 + images % 7)
        phase, split = ("p", "train") if number < 30 else ("evaluate", "test")
        ledger.append(phase, number // 6, number, batch, outcome, split)
    ledger.append("p", 9, 50, *solved([[0, 1]], [[0.25, 0.5]]), "train")
    ledger.register_classes("test", NAMES)
    return ledger


@pytest.mark.parametrize("pending", [0, 10, 10**6])
@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_images_are_what_a_plain_loop_finds(drawn, chunk, pending, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    monkeypatch.setattr(module, "_PENDING", pending)
    wanted = _by_hand(drawn, "p", range(99))
    assert hardest_images(drawn, "p", 100) == wanted
    assert len(wanted) > 20
    assert any(0 < image.unlucky < image.supports for image in wanted)
    assert hardest_images(drawn, "p", 3) == wanted[:3]
    assert hardest_images(drawn, "p", 100, round=2) == _by_hand(drawn, "p", [2])


def test_of_an_evaluation_the_first_round_counts(ledger, random_solved):
    ledger.register_classes("test", NAMES)
    for round_ in (0, 1):
        ledger.append("evaluate", round_, 0, *random_solved(4, 3, 5, seed=round_), "test")
    assert hardest_images(ledger, "evaluate", 100) == _by_hand(ledger, "evaluate", [0])


def test_no_wrong_answer_is_no_image(ledger, solved):
    ledger.append("p", 0, 0, *solved([[0, 1]], [[0.5, 0.5]]), "train")
    assert hardest_images(ledger, "p") == []


def test_they_are_shown_on_request(drawn):
    first = hardest_images(drawn, "p")[0]
    phase = json.loads(render(drawn, format="json", images=True))["phases"][0]
    assert phase["hardest_images"][0] == vars(first)
    assert json.loads(render(drawn, format="json"))["phases"][0]["hardest_images"] == []
    rows = csv.DictReader(io.StringIO(render(drawn, format="csv", images=True), newline=""))
    row = next(row for row in rows if row["view"] == "hardest_images")
    assert (row["classes"], row["taken_for"]) == (json.dumps([first.name]), first.taken_for)
    assert [int(row[name]) for name in ("image", "asked", "wrong", "supports", "unlucky")] == [
        first.image, first.asked, first.wrong, first.supports, first.unlucky,
    ]  # fmt: skip
    assert "Hardest images" in render(drawn, images=True)
    assert "Hardest images" not in render(drawn)


def test_the_lower_quartile_is_a_recall_that_a_quarter_does_not_exceed(drawn):
    quartile, count = module._quartile_and_count(drawn.sql, (0, 2**60))
    recalls = np.concatenate([e.recall for e in solved_episodes(drawn)])
    assert (recalls <= quartile).mean() >= 0.25 > (recalls < quartile).mean()
    assert count == 1 + max(
        i for e in solved_episodes(drawn) for part in (*e.support, *e.query) for i in part
    )
