"""Easy tasks first: the window by hand, and which tasks it lets through early and late."""

import itertools

import pytest
import torch
from sampler_options import sampler_of

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.runtime.seeds import generator

EPISODES = 1000


def _sampler(index, **config):
    config = {"share": 1.0, "warm_up": 0.0, "fade": 0.0, **config}
    return sampler_of("self_paced", index, EpisodeShape(3, 1, 3), episodes=EPISODES, **config)


@pytest.mark.parametrize(
    ("pace", "windows"),
    [
        ("grow", {0: (0, 0.4), 250: (0, 0.55), 500: (0, 0.7), 1000: (0, 1), 1200: (0, 1)}),
        ("move", {0: (0, 0.4), 250: (0.15, 0.55), 500: (0.3, 0.7), 1000: (0.6, 1), 1200: (0.6, 1)}),
    ],
)
def test_the_window_by_hand(index, pace, windows):
    sampler = _sampler(index, pace=pace, part=0.4)
    for number, (low, high) in windows.items():
        assert sampler.window(number) == pytest.approx((low, high))


@pytest.mark.parametrize("pace", ["grow", "move"])
def test_the_whole_part_is_every_task_at_any_time(index, pace):
    sampler = _sampler(index, pace=pace, part=1.0)
    assert {sampler.window(number) for number in (0, 300, 1000)} == {(0, 1)}


@pytest.mark.parametrize(
    ("pace", "number", "ranks"),
    [
        ("grow", 0, (1, 4)),
        ("grow", 500, (1, 10)),
        ("grow", EPISODES, (1, 16)),
        ("move", 0, (1, 4)),
        ("move", 500, (7, 10)),
        ("move", EPISODES, (13, 16)),
    ],
)
def test_tasks_have_the_difficulty_that_their_time_asks_for(labels, pace, number, ranks):
    """The k-th of M uniform candidates is expected at the quantile k / (M + 1) of all tasks."""
    sampler = _sampler(ClassIndex.of(labels(14, 8)), pace=pace, part=0.25, candidates=16)
    right = torch.rand(14, dtype=torch.float64, generator=generator(0)) * 20
    sampler.recalls.load_state_dict({"right": right, "wrong": 20 - right})
    error = [1 - (float(r) + 1) / 22 for r in right]
    difficulty = {task: sum(error[c] for c in task) for task in itertools.combinations(range(14), 3)}
    easiest_first = sorted(difficulty, key=difficulty.__getitem__)
    order = {task: place / len(difficulty) for place, task in enumerate(easiest_first)}
    random = generator(1)
    drawn = [tuple(sorted(sampler.choose(number, random).tolist())) for _ in range(800)]
    mean = sum(order[task] for task in drawn) / 800
    assert mean == pytest.approx(sum(ranks) / 2 / 17, abs=0.03)


@pytest.mark.parametrize("pace", ["grow", "move"])
def test_training_goes_from_easy_classes_to_the_others(index, solved, pace):
    sampler = _sampler(index, pace=pace, part=0.2)
    hard = dict.fromkeys(range(10), 0.2)
    met = []
    for _ in range(EPISODES // 10):
        batch = sampler.draw(10)
        met.append(float((batch.classes < 10).float().mean()))
        sampler.update(batch, solved(batch, hard, otherwise=0.9))
    early, late = sum(met[5:25]) / 20, sum(met[-20:]) / 20  # half of all classes are hard
    assert early < 0.35
    assert late == pytest.approx(0.5, abs=0.1) if pace == "grow" else late > 0.65


def test_before_anything_is_known_tasks_are_uniform(index):
    sampler = _sampler(index, part=0.1)
    batch = sampler.draw(300)
    assert set(batch.origin) == {"paced"}
    often = torch.bincount(batch.classes.flatten(), minlength=20) / 300
    assert often.tolist() == pytest.approx([0.15] * 20, abs=0.09)
