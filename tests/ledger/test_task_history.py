"""Visits of single tasks, and the answers of the worst one."""

from dataclasses import replace

import pytest
import torch

from mtl.errors import UserError
from mtl.ledger.queries import hardest_tasks
from mtl.ledger.task_history import SolvedEpisode, Visit, WrongAnswer, histories, worst_episodes

NAMES = {2: "cat", 5: "eel", 7: "ant", 9: "bee"}


@pytest.fixture(autouse=True)
def _named(ledger):
    ledger.register_classes("train", NAMES)


def _known(solved, taken, sure):
    batch, outcome = solved
    predicted = torch.tensor(taken, dtype=torch.int16)
    return batch, replace(outcome, predicted=predicted, confidence=torch.tensor(sure))


@pytest.fixture
def visited(ledger, solved):
    """The task of ant, cat and eel visited four times, another one once in between."""
    same = {"queries": 2}
    ledger.append("p", 0, 0, *solved([[7, 2, 5]], [[1.0, 0.5, 0.0]], **same), "train")
    ledger.append("p", 0, 3, *solved([[5, 2, 9]], [[0.0, 0.0, 0.0]], **same), "train")
    lowest = solved([[7, 2, 5]], [[0.5, 1.0, 0.0]], "hard", **same)
    taken = [[[0, 2], [1, 1], [0, 1]]]  # of ant, cat, eel: an ant as eel; eels as ant and as cat
    sure = [[[0.5, 0.625], [1.0, 1.0], [0.375, 0.75]]]
    ledger.append("p", 2, 40, *_known(lowest, taken, sure), "train")
    ledger.append("p", 4, 50, *solved([[2, 5, 7]], [[1.0, 1.0, 0.5]], **same), "train")
    return ledger


def test_a_worst_episode_by_hand(visited):
    (found,) = worst_episodes(visited, "p", [("cat", "eel", "ant")])
    assert found == SolvedEpisode(
        id="1-2", phase="p", split="train", round=2, step=40, origin="hard", stream=0,
        way=3, shot=1, queries=2, classes=(2, 5, 7), names=("cat", "eel", "ant"),
        support=((200,), (500,), (700,)), query=((201, 202), (501, 502), (701, 702)),
        loss=0.5, accuracy=0.5, hardness=None, fisher=None, recall=(1.0, 0.0, 0.5),
        wrong=(  # of class c the queries are 100 c + 1 and 100 c + 2
            WrongAnswer(image=502, own=1, predicted=0, confidence=0.75),
            WrongAnswer(image=702, own=2, predicted=1, confidence=0.625),
            WrongAnswer(image=501, own=1, predicted=2, confidence=0.375),
        ),
    )  # fmt: skip


def test_a_history_by_hand(visited):
    assert histories(visited, "p", [("cat", "eel", "bee"), ("cat", "eel", "ant")]) == [
        [Visit("1-1", 0, 0.0, "uniform", None, None)],
        [
            Visit("1-0", 0, 0.5, "uniform", None, None),
            Visit("1-2", 2, 0.5, "hard", None, None),
            Visit("1-3", 4, pytest.approx(5 / 6), "uniform", None, None),
        ],
    ]


def test_of_equally_bad_episodes_the_latest_and_of_equally_sure_answers_the_first(ledger, solved):
    for step in range(3):
        one = solved([[2, 5]], [[0.5, 0.5]], queries=2)
        taken = [[[0, 1], [1, 0]]] if step == 1 else [[[1, 0], [0, 1]]]
        ledger.append("p", 0, step, *_known(one, taken, [[[0.75, 0.75], [0.75, 0.75]]]), "train")
    ledger.append("p", 0, 3, *solved([[2, 5]], [[1.0, 0.5]], queries=2), "train")
    (found,) = worst_episodes(ledger, "p", [("cat", "eel")])
    assert found.step == 2
    assert [answer.image for answer in found.wrong] == [201, 501]


def test_images_of_several_shots_are_those_of_their_class(ledger, solved):
    batch, outcome = solved([[7, 2]], [[0.5, 0.0]], queries=2)
    support = torch.tensor([[[70, 71, 72], [20, 21, 22]]])
    taken = [[[0, 1], [0, 0]]]
    sure = [[[0.5, 0.75], [0.625, 0.875]]]
    ledger.append("p", 0, 0, *_known((replace(batch, support=support), outcome), taken, sure), "train")
    (found,) = worst_episodes(ledger, "p", [("cat", "ant")])
    assert found.support == ((20, 21, 22), (70, 71, 72))
    assert found.wrong == (
        WrongAnswer(202, 0, 1, 0.875),
        WrongAnswer(702, 1, 0, 0.75),
        WrongAnswer(201, 0, 1, 0.625),
    )


def test_answers_that_are_not_known_are_none_and_not_none_wrong(ledger, solved):
    ledger.append("p", 0, 0, *solved([[2, 5]], [[0.5, 0.5]]), "train")
    right = _known(solved([[2, 7]], [[1.0, 1.0]], queries=1), [[[0], [1]]], [[[0.5], [0.5]]])
    ledger.append("p", 0, 0, *right, "train")
    unknown, none = worst_episodes(ledger, "p", [("cat", "eel"), ("cat", "ant")])
    assert unknown.wrong is None
    assert none.wrong == ()


def test_against_a_plain_loop(ledger, random_solved):
    met = {}
    for number in range(30):
        origin = ("uniform", "hard")[number % 2]
        batch, outcome = random_solved(4, 3, 5, seed=number, origin=origin)
        ledger.append("p", number // 5, number, batch, outcome, "train")
        for t, classes in enumerate(batch.classes.tolist()):
            hardness = float(outcome.hardness[t])
            one = (f"1-{4 * number + t}", number // 5, float(outcome.accuracy[t]), origin, hardness, None)
            met.setdefault(tuple(sorted(classes)), []).append((one, number, t, batch, outcome))
    tasks = list(met)
    assert any(len(visits) > 5 for visits in met.values())
    names = [tuple(NAMES.get(c, str(c)) for c in task) for task in tasks]
    assert histories(ledger, "p", names) == [[Visit(*one) for one, *_ in met[task]] for task in tasks]
    for task, found in zip(tasks, worst_episodes(ledger, "p", names), strict=True):
        lowest = min(one[2] for one, *_ in met[task])
        one, step, t, batch, outcome = [visit for visit in met[task] if visit[0][2] == lowest][-1]
        assert (found.id, found.accuracy, found.step) == (one[0], one[2], step)
        drawn = batch.classes[t].tolist()
        wrong = []
        for place, c in enumerate(task):
            n = drawn.index(c)
            assert found.support[place] == tuple(batch.support[t, n].tolist())
            assert found.recall[place] == float(outcome.recall[t, n])
            for q in range(5):
                taken = drawn[int(outcome.predicted[t, n, q])]
                if taken != c:
                    sure = float(outcome.confidence[t, n, q].half())
                    wrong.append(WrongAnswer(int(batch.query[t, n, q]), place, task.index(taken), sure))
        assert found.wrong == tuple(sorted(wrong, key=lambda answer: -answer.confidence))


def test_other_phases_do_not_count_and_no_task_is_no_answer(visited, solved):
    visited.append("q", 0, 9, *solved([[2, 5, 7]], [[0.0, 0.0, 0.0]], queries=2), "train")
    task = [("cat", "eel", "ant")]
    assert worst_episodes(visited, "p", task)[0].step == 40
    assert [visit.accuracy for visit in histories(visited, "q", task)[0]] == [0.0]
    assert worst_episodes(visited, "p", []) == histories(visited, "p", []) == []


def test_tasks_go_by_the_names_that_the_views_give(visited, solved):
    visited.append("p", 5, 60, *solved([[9, 11]], [[0.0, 0.25]], queries=4), "train")  # 11 has no name
    tasks = [task.classes for task in hardest_tasks(visited, "p")]
    assert ("bee", "11") in tasks
    assert [found.names for found in worst_episodes(visited, "p", tasks)] == tasks


@pytest.mark.parametrize("view", [worst_episodes, histories])
def test_what_is_not_there_is_refused(visited, view):
    with pytest.raises(UserError, match='no phase "q"'):
        view(visited, "q", [("cat", "eel", "ant")])
    for task in (("cat", "ant"), ("cat", "eel", "yak"), ("5", "cat", "ant"), ()):
        with pytest.raises(UserError, match=f'phase "p" has no task of the classes {", ".join(task)}'):
            view(visited, "p", [("cat", "eel", "ant"), task])
