"""What a phase of a ledger shows: neighbourhoods in place of tasks, and data maps of training."""

import pytest
import torch

from mtl.data import ImageSet
from mtl.episodes.episode import Neighbourhoods, Round
from mtl.ledger.store import Ledger
from mtl.report.cards import Gallery, Limits
from mtl.report.drawings import Drawings
from mtl.report.phase_section import phase_report
from mtl.training.stage import record_round

NAMES = ("ant", "bee", "cow", "dog", "elk", "fox")
AROUND = torch.tensor([[1, 2], [0, 2], [3, 1], [2, 4], [3, 0], [0, 1]])
FIRST = torch.tensor([0.25, 0.5, 0.5, 0.75, 0.75, 1.0])
GAIN = torch.tensor([0.1875, 0.125, 0.0, 0.0, 0.0, -0.0625])  # in each round


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.register_classes("train", dict(enumerate(NAMES)))
        yield ledger


@pytest.fixture
def gallery():
    pixels = torch.zeros(18, 1, 8, 8, dtype=torch.uint8)
    return Gallery(ImageSet(pixels, torch.arange(6).repeat_interleave(3), NAMES))


def _train(ledger, random_solved, phase, rounds, tested=True):
    for number in range(rounds):
        if tested:
            found = Neighbourhoods(torch.arange(6), FIRST + number * GAIN, torch.ones(6), AROUND)
            ended = Round(number, "neighbourhood", 6, 0.5, 1.0, 0.1, 2.0, neighbourhoods=found)
            record_round(ledger, phase, "train", number, ended)
        ledger.append(phase, number, number, *random_solved(9, 4, 6, seed=number), "train")


def _report(ledger, gallery, limits=None):
    (phase,) = ledger.phases()
    drawings = Drawings()
    return phase_report(ledger, phase, gallery, drawings, "run", limits or Limits()), drawings.figures


def test_neighbourhoods_take_the_place_of_tasks(ledger, random_solved, gallery):
    _train(ledger, random_solved, "meta-train", 4)
    found, figures = _report(ledger, gallery, Limits(tasks=4))
    assert found.tasks == []
    assert [card.row.name for card in found.neighbourhoods] == ["cow", "ant", "bee", "dog"]
    assert [card.row.name for card in found.learned] == ["ant", "bee"]
    ant = found.learned[0]
    assert (ant.row.first, ant.row.last, ant.row.members) == (0.25, 0.8125, ("bee", "cow"))
    assert [picture.alt.split(",")[0] for picture in ant.pictures] == ["ant"] * 3
    assert [[p.alt.split(",")[0] for p in of] for of in ant.members] == [["bee"] * 2, ["cow"] * 2]
    assert {"run-meta-train-class-map", "run-meta-train-pair-map"} <= figures.keys()
    assert "neighbourhood" in found.class_map.caption


def test_without_neighbourhoods_there_are_tasks_and_a_map_of_recall(ledger, random_solved):
    _train(ledger, random_solved, "meta-train", 4, tested=False)
    found, _ = _report(ledger, Gallery(None))
    assert (len(found.tasks), found.neighbourhoods, found.learned) == (8, [], [])
    assert "recall" in found.class_map.caption


@pytest.mark.parametrize(("phase", "rounds"), [("meta-train", 3), ("evaluate test", 9)])
def test_short_trainings_and_evaluations_have_no_maps(ledger, random_solved, phase, rounds):
    _train(ledger, random_solved, phase, rounds, tested=False)
    found, figures = _report(ledger, Gallery(None))
    assert (found.class_map, found.pair_map) == (None, None)
    assert not any("map" in name for name in figures)
