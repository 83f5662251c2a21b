import pytest
import torch

from mtl.config import Resample
from mtl.config.hard_tasks import Boosting
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.evaluation.baselines import Baseline
from mtl.evaluation.resample import resample_worst
from mtl.ledger.store import Ledger

CLASSES, TASKS, ROUNDS = 12, 40, 3


def _outcome(accuracy):
    """Every class of a task has its accuracy."""
    recall = accuracy[:, None].expand(-1, 2)
    confusion = torch.stack(
        [torch.stack([recall, 1 - recall], -1)[:, 0], torch.stack([1 - recall, recall], -1)[:, 0]], 1
    )
    return Outcome(1 - accuracy, accuracy, recall, confusion)


@pytest.fixture
def scored():
    """Two-way tasks, and a learner whose accuracy falls with the class ids of a task, plus luck at first."""
    random = torch.Generator().manual_seed(0)
    index = ClassIndex.of(torch.arange(CLASSES).repeat_interleave(20))
    classes = torch.stack([torch.randperm(CLASSES, generator=random)[:2] for _ in range(TASKS)])
    images = torch.stack([index.draw_images(c, 5, random) for c in classes])
    episodes = EpisodeBatch.of(classes, images, 1, "uniform")
    luck = torch.rand(TASKS, generator=random) / 2 - 0.25

    def truth(batch):
        return 0.75 - batch.classes.float().mean(1) / (3 * CLASSES)

    first = _outcome((truth(episodes) + luck).clamp(0, 1))
    return episodes, first, index, Baseline("it", lambda batch: _outcome(truth(batch))), truth


def _again(scored, path, tasks):
    episodes, first, index, contender, _ = scored
    how = Resample(rounds=ROUNDS, tasks=tasks)
    with Ledger.open(path) as ledger:
        ledger.append("p", 0, 0, episodes, first, "test")
        found = resample_worst(contender, episodes, first, index, how, Boosting(), 0, ledger, "p", "test")
        rows = ledger.sql.execute("SELECT origin, round, classes FROM episode WHERE round > 0").fetchall()
    return found, rows


def test_the_worst_and_as_many_others_are_tested_again(scored, tmp_path):
    episodes, first, _, _, truth = scored
    found, rows = _again(scored, tmp_path / "l.sqlite", 10)
    order = first.accuracy.argsort(stable=True)
    worst = order[:10]
    assert found.accuracy_picked == pytest.approx(float(first.accuracy[worst].mean()))
    assert found.accuracy_fresh == pytest.approx(float(truth(episodes)[worst].mean()))
    for origin in ("resampled", "control"):
        assert sum(o == origin for o, _, _ in rows) == 10 * ROUNDS
    keys = {o: [k for other, r, k in rows if other == o and r == 1] for o in ("resampled", "control")}
    other = {tuple(sorted(t)) for t in episodes.classes[order[10:]].tolist()}
    assert {tuple(memoryview(k).cast("B")[3::4]) for k in keys["control"]} <= other
    assert found.control == 10


def test_the_control_stays_where_it_was_while_the_worst_win_what_their_luck_had_cost(scored, tmp_path):
    found, _ = _again(scored, tmp_path / "l.sqlite", 10)
    assert found.accuracy_fresh - found.accuracy_picked > 0.1
    assert abs(found.control_fresh - found.control_first) < 0.1


def test_without_other_tasks_there_is_no_control(scored, tmp_path):
    found, rows = _again(scored, tmp_path / "l.sqlite", TASKS)
    assert (found.control, found.control_first, found.control_fresh) == (0, None, None)
    assert {o for o, _, _ in rows} == {"resampled"}
