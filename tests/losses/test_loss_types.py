"""What all losses have in common."""

import io

import pytest
import torch
import torch.nn.functional as F

from mtl import losses
from mtl.losses import (
    ClassBalancedLoss,
    CrossEntropy,
    FocalLoss,
    HardExampleMiner,
    ImageLoss,
    InfluenceBalancedLoss,
    LogitAdjustedLoss,
    SelfPacedLoss,
)
from mtl.runtime.seeds import generator

COUNTS = torch.tensor([410, 506, 146, 103])
WEIGHTS = torch.tensor([0.5, 0.25, 1.5, 1.75])
SIZE = 40

PLAIN = {
    "plain": CrossEntropy,
    "smoothed": lambda: CrossEntropy(0.1),
    "balanced": lambda: ClassBalancedLoss(WEIGHTS),
    "deferred": lambda: ClassBalancedLoss(WEIGHTS, start_epoch=2),
    "adjusted": lambda: LogitAdjustedLoss(COUNTS),
    "focal": lambda: FocalLoss(2.0),
    "focal on adjusted": lambda: FocalLoss(0.5, LogitAdjustedLoss(COUNTS, start_epoch=2)),
    "influence, whole": lambda: InfluenceBalancedLoss(weights=WEIGHTS, start_epoch=2, detach=False),
    "miner, batch": lambda: HardExampleMiner(0.5, cap=0.2),
    "miner, class": lambda: HardExampleMiner(0.5, "class", base=ClassBalancedLoss(WEIGHTS)),
    "miner, memory": lambda: HardExampleMiner(0.4, "memory", cap=0.1, size=SIZE),
    "paced": lambda: SelfPacedLoss(start=0.4, growth=0.2, size=SIZE),
    "paced, absolute": lambda: SelfPacedLoss(threshold="absolute", start=1.3, growth=1.2, size=SIZE),
}
#: Factors that move with the loss and are constants for its gradient: finite differences say otherwise.
HELD = {
    "influence": lambda: InfluenceBalancedLoss(start_epoch=1),
    "linear": lambda: SelfPacedLoss("linear", start=0.5, growth=0.1, size=SIZE),
    "logarithmic": lambda: SelfPacedLoss("logarithmic", "absolute", start=2.0, growth=1.5, size=SIZE),
    "mixture": lambda: SelfPacedLoss("mixture", start=0.7, growth=0.1, base=FocalLoss(1.0)),
}
ALL = PLAIN | HELD
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


def drawn(seed, size=9):
    return torch.randperm(SIZE, generator=generator(seed, "images"))[:size]


@every
def test_the_loss_is_the_mean_of_what_the_images_contribute(make, batch):
    for epoch in (0, 3):
        first, second = make(), make()
        first.begin_epoch(epoch)
        second.begin_epoch(epoch)
        given = (*batch(epoch), drawn(epoch))
        each = first.per_image(*given)
        assert each.shape == (9,)
        assert torch.equal(second(*given), each.mean())


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_gradients_are_those_of_finite_differences(make, batch):
    logits, labels, features = batch(1)
    loss = make()
    loss.begin_epoch(2)
    inputs = (logits.requires_grad_(), features.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, h: loss.per_image(x, labels, h, drawn(1)), inputs)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_single(make, batch, dtype):
    logits, labels, features = batch(2, dtype=dtype)
    low, single = make(), make()
    for loss in (low, single):
        loss.begin_epoch(2)
    logits.requires_grad_()
    found = low(logits, labels, features, drawn(2))
    wanted = single(logits.detach().float(), labels, features.float(), drawn(2))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-6, atol=0)
    found.backward()
    assert logits.grad.dtype == dtype
    assert logits.grad.isfinite().all()


@every
def test_classes_out_of_question_leave_all_finite(make, batch):
    """Two label spaces, {0, 1} and {2, 3}, behind one classifier."""
    logits, labels, features = batch(3)
    out = torch.arange(4) // 2 != labels[:, None] // 2
    logits = logits.masked_fill(out, -torch.inf).requires_grad_()
    loss = make()
    loss.begin_epoch(2)
    value = loss(logits, labels, features, drawn(3))
    value.backward()
    assert value.isfinite()
    assert value > 0
    assert logits.grad.isfinite().all()
    assert (logits.grad[out] == 0).all()


@every
@pytest.mark.parametrize("again", [False, True])
def test_a_run_goes_on_in_mid_epoch_as_if_it_had_not_stopped(make, again, batch):
    whole, first, second = make(), make(), make()

    def step(loss, number):
        if number % 4 == 0:
            loss.begin_epoch(number // 4)
        return loss.per_image(*batch(number), drawn(number))

    for number in range(10):
        step(whole, number)
        step(first, number)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    if again:
        second.begin_epoch(2)  # it is the epoch under way
    for number in range(10, 16):
        assert torch.equal(step(second, number), step(whole, number))
        left, right = second.state_dict(), whole.state_dict()
        assert left.keys() == right.keys()
        for key, value in left.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(value, right[key], rtol=0, atol=0, equal_nan=True)
            else:
                assert value == right[key]


@every
def test_order_in_the_batch_plays_no_part(make, batch):
    """What an image counts goes with it: an index into the training set is none into the batch."""
    given = (*batch(4, size=SIZE), drawn(4, SIZE))
    order = torch.randperm(SIZE, generator=generator(0, "order of a batch"))
    straight, shuffled = make(), make()
    for loss in (straight, shuffled):
        loss.begin_epoch(2)
    wanted = straight.per_image(*given)[order]
    torch.testing.assert_close(shuffled.per_image(*(x[order] for x in given)), wanted, rtol=1e-12, atol=1e-15)


@every
@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
        (torch.zeros(3, 4), torch.zeros(3)),
        (torch.zeros(3, 4), torch.tensor([0, 4, 1])),
        (torch.zeros(3, 4), torch.tensor([0, -100, 1])),
    ],
)
def test_nonsense_is_refused(make, logits, labels):
    with pytest.raises(ValueError, match=r"logits|labels"):
        make()(logits, labels, torch.zeros(len(logits), 5), torch.arange(len(logits)))


def test_an_epoch_is_told_to_the_base_too(batch):
    given = batch(5)
    loss = FocalLoss(0.0, HardExampleMiner(1.0, base=ClassBalancedLoss(WEIGHTS, start_epoch=3)))
    plain = F.cross_entropy(*given[:2], reduction="none")
    loss.begin_epoch(2)
    torch.testing.assert_close(loss.per_image(*given), plain)
    loss.begin_epoch(3)
    torch.testing.assert_close(loss.per_image(*given), plain * WEIGHTS[given[1]])
    with pytest.raises(ValueError, match="epoch"):
        loss.begin_epoch(-1)


def test_all_public_names_are_there():
    for name in losses.__all__:
        assert getattr(losses, name).__doc__
    kinds = {type(make()) for make in ALL.values()}
    assert kinds == {x for x in map(losses.__dict__.get, losses.__all__) if isinstance(x, type)} - {ImageLoss}
