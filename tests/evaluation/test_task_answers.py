"""Answers: what they mean, and a file that is whole, small and safe to load."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import UserError
from mtl.evaluation.task_answers import Answers, Cell, load, save
from mtl.runtime import checkpoints


def _tensors(a: Answers) -> list[torch.Tensor]:
    return [a.classes, a.recall, a.judged]


def test_accuracy_is_the_mean_recall():
    answers = Answers(
        torch.tensor([[3, 1], [0, 2]]), torch.tensor([[0.25, 1.0], [0.5, 0.0]]), torch.empty(0), 4
    )
    assert answers.accuracy.tolist() == [0.625, 0.25]
    assert answers.accuracy.dtype == torch.float64
    assert answers.right.tolist() == [[1, 4], [2, 0]]


def test_tasks_with_as_many_right_answers_are_equal_to_the_bit():
    # 1/3 by a product, as a GPU takes means, differs in its last digit from 1/3 by a division
    recall = torch.tensor([[1 / 3, 2 / 3, 0.0], [0.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    recall[2, 0] = torch.nextafter(recall[2, 0], torch.tensor(1.0))
    answers = Answers(torch.tensor([[0, 1, 2]] * 3), recall, torch.empty(0), 3)
    assert answers.accuracy.unique().tolist() == [1 / 3]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"recall": torch.zeros(2, 3)}, "both"),
        ({"classes": torch.zeros(4, dtype=torch.int64), "recall": torch.zeros(4)}, "both"),
        ({"judged": torch.zeros(2, 2)}, "judged"),
        (
            {"classes": torch.zeros(0, 2, dtype=torch.int64), "recall": torch.zeros(0, 2)},
            "at least one task",
        ),
        ({"queries": 0}, "one query"),
        ({"classes": torch.tensor([[0, -1], [1, 2]])}, "no class below 0"),
        ({"queries": 3}, "share of 3 queries"),
        ({"recall": torch.full((2, 2), 1.25)}, "share of 4 queries"),
        ({"recall": torch.full((2, 2), -0.25)}, "share of 4 queries"),
        ({"recall": torch.full((2, 2), torch.nan)}, "share of 4 queries"),
    ],
)
def test_what_is_no_answer_is_refused(change, says):
    right = {
        "classes": torch.tensor([[0, 1], [1, 2]]),
        "recall": torch.tensor([[0.25, 1.0], [0.5, 0.0]]),
        "judged": torch.zeros(2),
        "queries": 4,
    }
    Answers(**right)
    with pytest.raises(ValueError, match=says):
        Answers(**{**right, **change})


@settings(max_examples=30, deadline=None)
@given(
    queries=st.integers(1, 400), tasks=st.integers(1, 6), judged=st.integers(0, 4), seed=st.integers(0, 99)
)
def test_a_cell_is_loaded_as_it_was_saved(tmp_path_factory, queries, tasks, judged, seed):
    random = torch.Generator().manual_seed(seed)
    recall = torch.randint(queries + 1, (tasks, 3), generator=random) / queries
    ids = torch.rand(tasks, 5, generator=random).argsort(1)[:, :3]
    answers = {"5-way 1-shot": Answers(ids, recall, torch.rand(judged, generator=random), queries)}
    cell = Cell("boosted", 3, answers, [(0, 0.25), (100, 0.5)], None if seed % 2 else 0.1, 12.5, 4_000)
    path = tmp_path_factory.mktemp("cell") / "boosted-3.pt"
    save(path, cell)
    found = load(path)
    assert (found.arm, found.seed, found.curve) == (cell.arm, cell.seed, cell.curve)
    assert (found.seconds_per_step, found.seconds, found.images) == (cell.seconds_per_step, 12.5, 4_000)
    assert found.answers.keys() == answers.keys()
    (a,), (b,) = answers.values(), found.answers.values()
    assert all(
        torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(_tensors(a), _tensors(b), strict=True)
    )
    assert a.queries == b.queries


def test_ten_thousand_tasks_take_a_quarter_of_a_megabyte(tmp_path, answered, cell):
    save(tmp_path / "a.pt", cell("uniform", 0, answered(tasks=10_000, way=5, judged=1000)))
    assert (tmp_path / "a.pt").stat().st_size < 260_000  # 10,000 · 5 · (4 + 1) bytes and 4,000


def test_a_failure_half_way_leaves_the_old_file(tmp_path, monkeypatch, answered, cell):
    path = tmp_path / "a.pt"
    save(path, cell("uniform", 1, answered()))

    def fail(payload, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(path, cell("uniform", 2, answered()))
    assert load(path).seed == 1


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_damaged_file_is_one_sentence(tmp_path, keep, answered, cell):
    path = tmp_path / "a.pt"
    save(path, cell("uniform", 0, answered()))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"a\.pt: is damaged") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_file_of_something_else_is_told(tmp_path):
    with pytest.raises(UserError, match=r"a\.pt: there is no such"):
        load(tmp_path / "a.pt")
    checkpoints.write(tmp_path / "a.pt", {"format": checkpoints.FORMAT, "stage": "pretrain"})
    with pytest.raises(UserError, match=r"a\.pt: holds no answers of a comparison"):
        load(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p.pop("curve"),
        lambda p: p.update(answers=[1]),
        lambda p: p.update(seconds="long"),
        lambda p: p.update(curve=[1, 2]),
        lambda p: p["answers"]["5-way 1-shot"].update(right=torch.full((40, 3), 99)),
        lambda p: p["answers"]["5-way 1-shot"].update(classes=torch.zeros(2)),
        lambda p: p["answers"]["5-way 1-shot"].update(queries=0),
        lambda p: p["answers"]["5-way 1-shot"].update(judged=None),
    ],
)
def test_a_file_whose_content_is_spoilt_is_one_sentence(tmp_path, spoil, answered, cell):
    path = tmp_path / "a.pt"
    save(path, cell("uniform", 0, answered()))
    payload = checkpoints.read(path)
    spoil(payload)
    checkpoints.write(path, payload)
    with pytest.raises(UserError, match=r"a\.pt: is damaged, its answers cannot be read") as caught:
        load(path)
    assert "\n" not in str(caught.value)
