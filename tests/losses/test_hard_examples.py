"""Hard example mining and its memory of losses, against sorted lists and a dictionary."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from made_losses import logits_of, zeros

from mtl.losses import ClassBalancedLoss, HardExampleMiner
from mtl.losses.hard_examples import LossMemory, count_of, hardest, ranked
from mtl.runtime.seeds import generator

values = st.lists(st.integers(0, 12), min_size=1, max_size=14)  # few values: many are equal
parts = st.floats(0.001, 1.0)
caps = st.floats(0.0, 0.999)


def by_hand(losses, part, cap):
    """Places of the hardest: sort, drop the very top, keep the rest of the share."""
    order = sorted(range(len(losses)), key=lambda i: (-losses[i], i))
    last = max(1, math.ceil(part * len(losses) - 1e-9))
    return set(order[min(math.floor(cap * len(losses) + 1e-9), last - 1) : last])


@settings(deadline=None, max_examples=100)
@given(values, parts, caps)
def test_the_hardest_of_a_batch(losses, part, cap):
    chosen = hardest(torch.tensor(losses) / 4, zeros(len(losses)), part, cap)
    assert set(chosen.nonzero()[:, 0].tolist()) == by_hand(losses, part, cap)
    assert chosen.any()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=14), parts, caps)
def test_the_hardest_of_each_class(pairs, part, cap):
    losses, labels = zip(*pairs, strict=True)
    chosen = hardest(torch.tensor(losses) / 4, torch.tensor(labels), part, cap)
    for c in set(labels):
        places = [i for i, y in enumerate(labels) if y == c]
        wanted = {places[i] for i in by_hand([losses[i] for i in places], part, cap)}
        assert {i for i in places if chosen[i]} == wanted


def test_shares_are_counted_whatever_their_binary_digits():
    assert int(hardest(torch.arange(100.0), zeros(100), 0.55, 0.29).sum()) == 55 - 29


def test_each_class_of_a_batch_has_its_hard_images():
    logits, labels = logits_of([0.1, 0.2, 0.3, 0.4]), zeros(4)
    logits = torch.cat([logits, logits_of([5.0, 6.0, 7.0]).flip(-1)])
    labels = torch.cat([labels, labels[:3] + 1])
    each = HardExampleMiner(0.5, "class").per_image(logits, labels)
    assert each.nonzero()[:, 0].tolist() == [2, 3, 5, 6]
    assert each.mean().item() == pytest.approx((0.3 + 0.4 + 6 + 7) / 4)


def test_others_have_no_gradient_and_the_chosen_that_of_their_mean(batch):
    logits, labels, _ = batch()
    logits.requires_grad_()
    (found,) = torch.autograd.grad(HardExampleMiner(0.3, cap=0.12)(logits, labels), logits)
    losses = F.cross_entropy(logits, labels, reduction="none")
    places = losses.topk(3).indices[1:]  # floor(0.12 · 9) = 1 is left out
    (wanted,) = torch.autograd.grad(losses[places].mean(), logits)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("scope", ["batch", "class", "memory"])
def test_however_small_the_part_one_image_counts(scope):
    miner = HardExampleMiner(1e-6, scope, size=10)
    for losses in ([0.5], [0.5, 2.0, 1.0]):
        found = miner(logits_of(losses), zeros(len(losses)), None, torch.arange(len(losses)))
        assert found.item() == pytest.approx(max(losses), rel=1e-6)
    # The known mistake: 1e-6 · 3 cut off is no image at all, and the mean of none is not a number.
    assert torch.tensor(losses).topk(int(1e-6 * 3)).values.mean().isnan()


def test_all_images_are_the_plain_mean(batch):
    logits, labels, _ = batch()
    for scope in ("batch", "class", "memory"):
        found = HardExampleMiner(1.0, scope, size=20)(logits, labels, None, torch.arange(9) + 11)
        torch.testing.assert_close(found, F.cross_entropy(logits, labels))


def test_wrong_labels_at_the_very_top_are_left_out():
    losses = [0.1, 9.0, 0.7, 0.3, 0.9, 0.2, 0.5, 0.8, 0.4, 0.6]
    miner = HardExampleMiner(0.4, cap=0.1)
    each = miner.per_image(logits_of(losses), zeros(10))
    assert set(each.nonzero()[:, 0].tolist()) == {4, 7, 2}
    assert each.mean().item() == pytest.approx((0.9 + 0.8 + 0.7) / 3)


def test_ranks_are_those_of_the_base():
    weights, labels = torch.tensor([1.0, 4.0]), torch.tensor([0, 1])
    logits = torch.tensor([[0.0, 1.0], [0.0, 0.3]])
    assert HardExampleMiner(0.5).per_image(logits, labels)[1] == 0
    assert HardExampleMiner(0.5, base=ClassBalancedLoss(weights)).per_image(logits, labels)[0] == 0


def remembered(table, mine, part, cap):
    """Places of a batch's images that count, by a dictionary of all last known losses."""
    known = sorted(table.values(), reverse=True)
    last = max(1, math.ceil(part * len(known) - 1e-9))
    band = known[min(math.floor(cap * len(known) + 1e-9), last - 1) : last]
    chosen = {i for i, loss in enumerate(mine) if band[-1] <= loss <= band[0]}
    if not chosen:
        below = [loss for loss in mine if loss < band[-1]]
        chosen = {mine.index(max(below) if below else min(mine))}
    return chosen


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), parts, caps)
def test_the_memory_goes_by_the_image_and_not_by_its_place(seed, part, cap):
    cap *= part
    random = generator(seed, "memory")
    miner, table = HardExampleMiner(part, "memory", cap, size=1000), {}
    everyone = torch.randperm(1000, generator=random)[:30]  # most indices lie beyond any batch
    for _ in range(8):
        images = everyone[torch.randperm(30, generator=random)[:6]]
        losses = torch.randint(1, 40, (6,), generator=random) / 8
        each = miner.per_image(logits_of(losses), zeros(6), None, images)
        mine = F.cross_entropy(logits_of(losses), zeros(6), reduction="none").float().tolist()
        table |= dict(zip(images.tolist(), mine, strict=True))
        wanted = remembered(table, mine, part, cap)
        assert set(each.nonzero()[:, 0].tolist()) == wanted
        assert each.mean().item() == pytest.approx(sum(mine[i] for i in wanted) / len(wanted), rel=1e-5)


def test_an_easy_batch_of_a_hard_collection_counts_by_its_hardest():
    miner = HardExampleMiner(0.25, "memory", cap=0.125, size=100)

    def counted(images, losses):
        given = logits_of(losses), zeros(len(losses)), None, torch.tensor(images)
        return miner.per_image(*given).nonzero()[:, 0].tolist()

    assert counted([90, 80, 70, 60, 50, 40], [8.0, 7.0, 6.0, 5.0, 4.0, 3.0]) == [0, 1]
    assert counted([1, 2], [0.5, 1.0]) == [1]  # of all 8 it is one of the two hardest, but not the hardest
    assert counted([1], [9.0]) == [0]  # too hard, but alone
    assert counted([1, 2], [9.0, 1.5]) == [1]
    assert counted([80], [7.5]) == [0]


def test_an_image_that_is_in_the_batch_twice_is_chosen_or_left_out_as_one():
    miner = HardExampleMiner(0.5, "memory", size=4)
    each = miner.per_image(logits_of([0.5, 1.0, 2.0]), zeros(3), None, torch.tensor([3, 0, 3]))
    assert each.nonzero()[:, 0].tolist() == [0, 2]


def test_images_that_are_all_alike_are_ranked_by_their_place():
    assert hardest(torch.ones(5), zeros(5), 0.4).tolist() == [True, True, False, False, False]
    assert hardest(torch.ones(5), zeros(5), 0.6, 0.2).tolist() == [False, True, True, False, False]
    miner = HardExampleMiner(0.4, "memory", size=5)
    each = miner.per_image(torch.zeros(5, 2), zeros(5), None, torch.arange(5))
    assert torch.equal(each, torch.full((5,), math.log(2)))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"part": 0.0}, "part"),
        ({"part": 1.1}, "part"),
        ({"part": 0.3, "cap": 0.3}, "cap"),
        ({"part": 0.3, "cap": -0.1}, "cap"),
        ({"part": 0.3, "scope": "epoch"}, "scope"),
        ({"part": 0.3, "scope": "memory"}, "size"),
    ],
)
def test_nonsense_is_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        HardExampleMiner(**wrong)


def test_a_memory_needs_indices(batch):
    with pytest.raises(ValueError, match="images"):
        HardExampleMiner(0.3, "memory", size=9)(*batch())


batches = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 50)), min_size=1, max_size=8), max_size=8
)


@settings(deadline=None, max_examples=60)
@given(batches)
def test_it_keeps_the_last_loss_of_each_image(batches):
    memory, table = LossMemory(7), {}
    for pairs in batches:
        images, losses = (torch.tensor(x) for x in zip(*pairs, strict=True))
        found = memory.enter(images, losses / 4)
        table |= {i: max(loss / 4 for j, loss in pairs if j == i) for i, _ in pairs}
        assert found.tolist() == [table[i] for i, _ in pairs]
    assert memory.known().tolist() == [table[image] for image in sorted(table)]
    for image in range(7):
        kept = float(memory.losses[image])
        assert kept == table[image] if image in table else math.isnan(kept)


def test_it_is_part_of_the_state_and_no_part_of_the_graph():
    memory = LossMemory(3)
    losses = torch.tensor([1.0, 2.0], requires_grad=True)
    assert not memory.enter(torch.tensor([2, 0]), losses).requires_grad
    again = LossMemory(3)
    again.load_state_dict(memory.state_dict())
    assert again.known().tolist() == [2.0, 1.0]


def test_a_loss_that_is_no_number_ranks_as_the_worst():
    assert ranked(torch.tensor([1.0, torch.nan, -2.0])).tolist() == [1, math.inf, -2]


def test_a_share_is_rounded_up_whatever_its_binary_digits():
    assert [count_of(s, n) for s, n in [(0.07, 100), (0.55, 100), (0.29, 100), (1, 7)]] == [7, 55, 29, 7]
    assert [count_of(s, n) for s, n in [(0.31, 10), (1e-12, 5), (0.5, 3)]] == [4, 1, 2]


def test_no_image_no_memory():
    with pytest.raises(ValueError, match="size"):
        LossMemory(0)
    with pytest.raises(ValueError, match="images"):
        LossMemory(3).enter(torch.tensor([3]), torch.zeros(1))
