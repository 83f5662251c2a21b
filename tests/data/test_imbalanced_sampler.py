"""Unbalanced sets: how often each item comes, whose label is whose, and resuming in mid-pass."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from mtl.data.class_imbalance import effective_number, inverse_frequency
from mtl.data.dataset_labels import labels_of
from mtl.data.index_orders import BalancedOrder, ImbalancedSampler
from mtl.runtime.seeds import generator

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always
COUNTS = torch.tensor([60, 25, 11, 4])


def _shuffled(count, seed=0):
    return torch.randperm(count, generator=generator(seed)).tolist()


LABELS = torch.arange(4).repeat_interleave(COUNTS)[_shuffled(100)]


class Row:
    """A data set that keeps its classes under a name."""

    def __init__(self, name, kept, labels=None):
        setattr(self, name, kept)
        self._classes = [int(label) for label in (kept if labels is None else labels)]

    def __len__(self):
        return len(self._classes)

    def __getitem__(self, i):
        return i, self._classes[i]


@pytest.fixture
def folder(tmp_path, write_images):
    """Real pictures in folders: 9 cats, 4 dogs, 2 owls."""
    for name, count in (("cat", 9), ("dog", 4), ("owl", 2)):
        write_images(tmp_path / name, count)
    return ImageFolder(str(tmp_path), transform=pil_to_tensor)


@pytest.mark.parametrize(
    ("arguments", "weights"),
    [
        ({"weighting": "inverse"}, inverse_frequency(COUNTS)),
        ({"weighting": "effective"}, effective_number(COUNTS, 0.9999)),
        ({"weighting": "effective", "beta": 0.9}, effective_number(COUNTS, 0.9)),
    ],
)
def test_items_come_as_often_as_a_weighted_random_sampler_would_have_them(arguments, weights):
    weighted = WeightedRandomSampler(weights[LABELS].tolist(), 40_000).weights.double()
    found = torch.bincount(
        torch.tensor(list(ImbalancedSampler(LABELS, **arguments, count=40_000))), minlength=100
    )
    assert chisquare(found, 40_000 * weighted / weighted.sum()).pvalue > P_VALUE
    forgot = (weights / COUNTS)[LABELS]  # a class by its weight alone, without the images it has
    assert chisquare(found, 40_000 * forgot / forgot.sum()).pvalue < 1e-9


def test_a_pass_has_as_many_items_as_the_set_or_as_asked_for():
    assert len(ImbalancedSampler(LABELS)) == len(list(ImbalancedSampler(LABELS))) == 100
    assert len(ImbalancedSampler(LABELS, count=7)) == len(list(ImbalancedSampler(LABELS, count=7))) == 7
    assert len(ImbalancedSampler(LABELS, count=7, world=2)) == 3


@given(taken=st.integers(0, 30), epoch=st.integers(0, 5), seed=st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_resumed_in_mid_pass_the_rest_is_the_same(taken, epoch, seed):
    one, other = (ImbalancedSampler(LABELS, count=30, seed=seed) for _ in range(2))
    one.set_epoch(epoch)
    walk = iter(one)
    before = list(islice(walk, taken))
    other.load_state_dict(one.state_dict())
    after = list(walk)
    if taken == 30:  # nothing is left of that pass: it is the next one's turn
        assert other.state_dict() == {"epoch": epoch + 1, "taken": 0}
    else:
        assert list(other) == after
    assert list(other) == list(one)
    assert before + after == BalancedOrder(LABELS, seed=seed, count=30).items(epoch).tolist()


def test_each_pass_is_another_and_any_can_be_had_again():
    sampler = ImbalancedSampler(LABELS, seed=1)
    passes = [list(sampler) for _ in range(3)]
    assert len({str(p) for p in passes}) == 3
    sampler.set_epoch(1)
    assert [list(sampler), list(sampler)] == passes[1:]


def test_a_loader_that_draws_ahead_resumes_at_what_was_used():
    sampler = ImbalancedSampler(LABELS, seed=1)
    list(islice(sampler, 48))  # what workers would have asked for
    state = sampler.state_dict(taken=16)
    assert state == {"epoch": 0, "taken": 16}
    other = ImbalancedSampler(LABELS, seed=1)
    other.load_state_dict(state)
    assert list(other) == list(ImbalancedSampler(LABELS, seed=1))[16:]


def test_a_generator_counts_by_its_initial_seed():
    random = torch.Generator().manual_seed(7)
    torch.rand(3, generator=random)
    assert list(ImbalancedSampler(LABELS, seed=random)) == list(ImbalancedSampler(LABELS, seed=7))
    assert list(ImbalancedSampler(LABELS, seed=7)) != list(ImbalancedSampler(LABELS, seed=8))


def test_ranks_draw_different_images():
    parts = [set(ImbalancedSampler(LABELS, count=600, rank=rank, world=3)) for rank in range(3)]
    assert sum(map(len, parts)) == len(set.union(*parts)) > 80


def test_real_pictures_in_a_loader_come_balanced(folder):
    sampler = ImbalancedSampler(labels_of(folder), count=900, seed=2)
    loader = DataLoader(folder, batch_size=64, sampler=sampler)
    labels = torch.cat([labels for _, labels in loader])
    assert chisquare(torch.bincount(labels, minlength=3)).pvalue > P_VALUE
    assert len(loader) == 15
    assert sampler.state_dict() == {"epoch": 1, "taken": 0}


def test_an_item_of_a_subset_has_the_label_of_the_item_it_stands_for(folder):
    subset = Subset(folder, _shuffled(15)[:11])
    true = [label for _, label in subset]
    assert labels_of(subset).tolist() == true
    everything = torch.tensor(folder.targets)
    in_order = everything[sorted(subset.indices)]
    assert everything[:11].tolist() != true
    assert in_order.tolist() != true
    for labels, balanced in ((labels_of(subset), True), (in_order, False), (everything[:11], False)):
        drawn = [true[i] for i in ImbalancedSampler(labels, count=3000)]
        p_value = chisquare([drawn.count(c) for c in range(3)]).pvalue
        assert p_value > P_VALUE if balanced else p_value < 1e-9


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
    "samples", [[("a.png", "cat")], torch.tensor([0.5, 1.0]), torch.tensor([1.0, np.nan]), [1.5], ["a.png"]]
)
def test_samples_that_tell_no_class_are_refused(samples):
    with pytest.raises(ValueError, match="Row: labels must be"):
        labels_of(Row("samples", samples, [0] * len(samples)))


def test_a_count_that_is_no_number_of_items_is_refused():
    with pytest.raises(ValueError, match=r"count = 10\.0 must be a whole number"):
        ImbalancedSampler(LABELS, count=10.0)
