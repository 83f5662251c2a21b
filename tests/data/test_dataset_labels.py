"""Labels that data sets store, read without reading an item."""

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset
from torchvision.datasets import FakeData

from mtl.data.dataset_labels import as_labels, labels_of
from mtl.data.index_orders import BalancedOrder, ImbalancedSampler
from mtl.runtime.seeds import generator


def _shuffled(count, seed=0):
    return torch.randperm(count, generator=generator(seed)).tolist()


LABELS = torch.arange(4).repeat_interleave(torch.tensor([60, 25, 11, 4]))[_shuffled(100)]


class Row:
    """A data set that keeps its classes under a name."""

    def __init__(self, name, kept, labels=None):
        setattr(self, name, kept)
        self._classes = [int(label) for label in (kept if labels is None else labels)]

    def __len__(self):
        return len(self._classes)

    def __getitem__(self, i):
        return i, self._classes[i]


@pytest.mark.parametrize(
    "kind",
    [
        lambda: Row("targets", LABELS.tolist()),
        lambda: Row("targets", LABELS),
        lambda: Row("labels", LABELS.numpy()),
        lambda: Row("_labels", LABELS.tolist()),
        lambda: Row("targets", [torch.tensor(label) for label in LABELS.tolist()]),
        lambda: Row("get_labels", LABELS.tolist, LABELS),
        lambda: Row("samples", [(f"{i}.png", label) for i, label in enumerate(LABELS.tolist())], LABELS),
        lambda: Row("samples", torch.cat([-torch.ones(4), torch.full((3,), -5.0)]), [-1] * 4 + [-5] * 3),
        lambda: Subset(Row("get_labels", lambda: np.array([7, 8, 9]), [7, 8, 9]), [2, 0]),
        lambda: TensorDataset(torch.zeros(100, 2), LABELS),
        lambda: Subset(TensorDataset(LABELS), np.array([5, 99, 5, 0])),
        lambda: Subset(
            Subset(Row("targets", LABELS.tolist()), _shuffled(100, 1)[:50]), _shuffled(50, 2)[:20]
        ),
        lambda: ConcatDataset([Row("labels", [7, 8]), Subset(Row("targets", [4, 5, 6]), [2, 0])]),
        lambda: Subset(ConcatDataset([Row("labels", [7, 8]), Row("targets", [4, 5, 6])]), [4, 0, 2]),
    ],
)
def test_labels_are_those_that_indexing_gives(kind):
    dataset = kind()
    found = labels_of(dataset)
    assert found.dtype == torch.int64
    assert found.tolist() == [int(dataset[i][-1]) for i in range(len(dataset))]


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (FakeData(4), "FakeData has none of targets, labels, _labels"),
        (Subset(FakeData(4), [0]), "FakeData has none"),
        (TensorDataset(torch.zeros(4)), "TensorDataset: labels must be"),
        (TensorDataset(torch.zeros(4, 2, dtype=torch.int64)), "TensorDataset: labels must be"),
    ],
)
def test_sets_without_labels_are_refused(dataset, words):
    with pytest.raises(ValueError, match=words):
        labels_of(dataset)


def test_labels_that_are_files_or_too_few_are_refused():
    files, few = Row("targets", [1, 2]), Row("targets", [1, 2])
    files.targets, few.targets = ["a.xml", "b.xml"], [1]
    with pytest.raises(ValueError, match="Row: labels must be"):
        labels_of(files)
    with pytest.raises(ValueError, match="Row has 2 items and 1 labels"):
        labels_of(few)


@pytest.mark.parametrize(
    "samples", [[("a.png", "cat")], torch.tensor([0.5, 1.0]), torch.tensor([1.0, np.nan]), [1.5], ["a.png"]]
)
def test_samples_that_tell_no_class_are_refused(samples):
    with pytest.raises(ValueError, match="Row: labels must be"):
        labels_of(Row("samples", samples, [0] * len(samples)))


class Unread(Dataset):
    """A set without end: whoever reads its items never comes back."""

    def __getitem__(self, i):
        raise AssertionError("an item was read")


class UnreadRow(Unread):
    def __init__(self):
        self.targets, self.labels = None, LABELS.tolist()

    def __len__(self):
        return len(LABELS)


def test_a_data_set_may_be_given_for_its_labels_and_none_of_its_items_is_read():
    expected = list(ImbalancedSampler(LABELS))
    assert list(ImbalancedSampler(UnreadRow())) == expected
    assert list(ImbalancedSampler(TensorDataset(torch.zeros(100, 2), LABELS))) == expected
    assert list(ImbalancedSampler(Subset(UnreadRow(), range(100)))) == expected
    with pytest.raises(ValueError, match="Unread has none of targets"):
        ImbalancedSampler(Unread())


@pytest.mark.parametrize("given", [{0: 1}, None, 7, iter([0, 1]), {0, 1}])
def test_what_is_neither_labels_nor_a_data_set_is_a_type_error(given):
    with pytest.raises(TypeError, match="must be a row of integers, or a data set"):
        ImbalancedSampler(given)


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, torch.tensor, lambda x: torch.tensor(x, dtype=torch.int16), np.int8]
)
def test_labels_may_come_as_any_sequence(kind):
    row = as_labels(kind([3, -5, 3]))
    assert row.dtype == torch.int64
    assert row.tolist() == [3, -5, 3]


@pytest.mark.parametrize("labels", [[], [0.5, 1.0], [[0, 1]], torch.tensor([1.0]), ["a"], torch.tensor(3)])
def test_labels_that_are_none_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be"):
        BalancedOrder(labels)
