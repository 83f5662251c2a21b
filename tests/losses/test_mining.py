"""The hardest images of a data set, however its loader orders them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from mtl.data import BatchScheduleSampler, ImbalancedSampler
from mtl.episodes import CategoriesSampler
from mtl.losses import hard_example_miner
from mtl.runtime.seeds import generator

X = torch.randn(50, 4, generator=generator(0, "x"))
Y = torch.arange(50) % 3
SET = TensorDataset(X, Y)
BOTH = ConcatDataset([Subset(SET, range(20)), Subset(SET, range(20, 50))])


class Model(nn.Module):
    """Refuses to answer while it trains."""

    def __init__(self):
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 3), nn.Dropout(0.5)
        self.drop.eval()  # one part is in another mode than the whole
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(3, 4, generator=generator(0, "w")))

    def forward(self, x):
        assert not self.training
        return self.linear(x)


MODEL = Model()
with torch.no_grad():
    LOSSES = F.cross_entropy(MODEL.linear(X), Y, reduction="none")
HARDEST = LOSSES.argsort(descending=True)


@pytest.mark.parametrize(
    "loader",
    [
        SET,
        DataLoader(SET, batch_size=8),
        DataLoader(SET, batch_size=8, shuffle=True),
        DataLoader(SET, batch_size=8, shuffle=True, drop_last=True, generator=torch.Generator()),
        DataLoader(SET, batch_size=7, sampler=SubsetRandomSampler(list(range(49, -1, -1)))),
        DataLoader(SET, batch_sampler=BatchScheduleSampler([20, 30], 8)),
        DataLoader(
            ConcatDataset([Subset(SET, range(20)), Subset(SET, range(20, 50))]), batch_size=9, shuffle=True
        ),
    ],
)
def test_it_finds_the_largest_losses_by_index_in_any_order(loader):
    assert hard_example_miner(MODEL, loader, 6).tolist() == HARDEST[:6].tolist()
    assert sorted(hard_example_miner(MODEL, loader, 50).tolist()) == list(range(50))


def test_a_part_of_the_set_is_mined_alone_and_an_image_drawn_twice_is_named_once():
    part = list(range(0, 50, 3))
    found = hard_example_miner(MODEL, DataLoader(SET, batch_size=4, sampler=SubsetRandomSampler(part)), 5)
    assert found.tolist() == [i for i in HARDEST.tolist() if i in part][:5]
    of_subset = hard_example_miner(MODEL, DataLoader(Subset(SET, part), batch_size=4, shuffle=True), 5)
    assert [part[i] for i in of_subset.tolist()] == found.tolist()
    again = WeightedRandomSampler(torch.ones(50), 500)
    assert (
        hard_example_miner(MODEL, DataLoader(SET, batch_size=16, sampler=again), 3).tolist()
        == HARDEST[:3].tolist()
    )


def test_model_samplers_and_random_numbers_are_left_as_they_were():
    MODEL.train()
    MODEL.drop.eval()
    own = torch.Generator().manual_seed(3)
    sampler = CategoriesSampler(Y, 20, 3, 4)
    scheduled, balanced = BatchScheduleSampler([20, 30], 8), ImbalancedSampler(Y)
    loaders = [
        DataLoader(SET, batch_size=8, shuffle=True, generator=own),
        DataLoader(SET, batch_size=8, shuffle=True),
        DataLoader(SET, batch_sampler=scheduled),
        DataLoader(SET, batch_size=8, sampler=balanced),
        DataLoader(SET, batch_sampler=sampler),
    ]
    before = own.get_state(), torch.get_rng_state(), scheduled.state_dict(), balanced.state_dict()
    for loader in loaders:
        hard_example_miner(MODEL, loader, 3)
    assert torch.equal(own.get_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert (scheduled.state_dict(), balanced.state_dict()) == before[2:]
    assert sampler.drawn == 0
    assert (MODEL.training, MODEL.linear.training, MODEL.drop.training) == (True, True, False)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_workers_make_no_difference():
    loader = DataLoader(SET, batch_size=3, shuffle=True, num_workers=2)
    assert hard_example_miner(MODEL, loader, 6).tolist() == HARDEST[:6].tolist()


def test_another_loss_may_rank_nan_is_worst_and_ties_go_by_index():
    confident = hard_example_miner(MODEL, SET, 4, loss=lambda logits, labels: -logits.max(1).values)
    assert confident.tolist() == MODEL.linear(X).max(1).values.argsort()[:4].tolist()
    marked = hard_example_miner(
        MODEL, SET, 1, lambda _, labels: torch.where(torch.arange(50) == 9, torch.nan, LOSSES)
    )
    assert marked.tolist() == [9]
    assert hard_example_miner(MODEL, SET, 3, lambda _, labels: torch.ones(50)).tolist() == [0, 1, 2]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("loader", "words"),
    [
        (Stream(), "Stream has no indices"),
        (DataLoader(Stream(), batch_size=2), "Stream has no indices"),
        (DataLoader(SET, batch_size=None), "batch_size=None"),
        (TensorDataset(X), r"must give \(images, labels\)"),
    ],
)
def test_loaders_whose_images_cannot_be_known_are_refused(loader, words):
    with pytest.raises(TypeError, match=words):
        hard_example_miner(MODEL, loader, 1)
    assert MODEL.drop.training is False


def test_a_loss_of_the_whole_batch_is_refused():
    with pytest.raises(ValueError, match="a value for each image"):
        hard_example_miner(MODEL, SET, 1, F.cross_entropy)


@pytest.mark.parametrize("top_k", [0, -1, 51])
def test_more_than_there_are_is_refused(top_k):
    with pytest.raises(ValueError, match="at least 1 and at most 50"):
        hard_example_miner(MODEL, SET, top_k)
