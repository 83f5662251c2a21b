"""Self-paced weights against brute-force minimisation, and their thresholds against a dictionary."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_losses import logits_of, zeros

from mtl.losses import SelfPacedLoss, self_paced_weights
from mtl.runtime.seeds import generator

REGULARISERS = ["hard", "linear", "logarithmic", "mixture"]
GRID = torch.linspace(0, 1, 20_001, dtype=torch.float64)


def penalty(v, regulariser, threshold, inner):
    """f(v; λ) of the papers."""
    if regulariser == "hard":
        return -threshold * v
    if regulariser == "linear":
        return threshold * (v * v / 2 - v)
    if regulariser == "logarithmic":
        zeta = 1 - threshold
        return zeta * v - zeta**v / math.log(zeta)
    zeta = threshold * inner / (threshold - inner)
    return -zeta * torch.log(v + zeta / threshold)


@pytest.mark.parametrize("regulariser", REGULARISERS)
@settings(deadline=None, max_examples=40)
@given(loss=st.floats(0, 5), threshold=st.floats(0.05, 4), share=st.floats(0.05, 0.95))
def test_weights_minimise_what_they_are_the_solution_of(regulariser, loss, threshold, share):
    if regulariser == "logarithmic":
        threshold = min(threshold / 4.1, 0.99)
    inner = share * threshold
    found = self_paced_weights(torch.tensor([loss], dtype=torch.float64), threshold, regulariser, inner)

    def cost(v):
        return v * loss + penalty(v, regulariser, threshold, inner)

    costs = cost(GRID)
    assert cost(found).item() <= costs.min().item() + 1e-12
    if abs(loss - threshold) > 1e-3:  # there `hard` has no one minimum
        assert found.item() == pytest.approx(float(GRID[costs.argmin()]), abs=6e-5)


def test_weights_by_hand():
    losses = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 7.0], dtype=torch.float64)
    assert self_paced_weights(losses, 0.75, "hard").tolist() == [1, 1, 1, 0, 0, 0]
    assert self_paced_weights(losses, 1.0, "linear").tolist() == [1, 0.75, 0.5, 0.25, 0, 0]
    # ζ = 0.5: ln 0.75 / ln 0.5 = 0.415037
    found = self_paced_weights(losses, 0.5, "logarithmic").tolist()
    assert found == pytest.approx([1, 0.415037, 0, 0, 0, 0], abs=1e-6)
    # ζ = 1 · 0.25 / 0.75 = 1/3: 2/3 - 1/3, 4/9 - 1/3
    found = self_paced_weights(losses, 1.0, "mixture", 0.25).tolist()
    assert found == pytest.approx([1, 1, 1 / 3, 1 / 9, 0, 0])


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_weights_fall_with_the_loss_and_also_of_single_precision(regulariser):
    losses = torch.linspace(0, 1, 102)
    found = self_paced_weights(losses, 0.9, regulariser, 0.2)
    assert found[0] == 1
    assert found[-1] == 0
    assert (found.diff() <= 0).all()
    double = self_paced_weights(losses.double(), 0.9, regulariser, 0.2)
    torch.testing.assert_close(found.double(), double, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
        ({"threshold": 1.0, "regulariser": "logarithmic"}, "threshold"),
        ({"threshold": 1.0, "regulariser": "mixture"}, "inner"),
        ({"threshold": 1.0, "regulariser": "mixture", "inner": 1.0}, "inner"),
        ({"threshold": 1.0, "regulariser": "soft"}, "regulariser"),
    ],
)
def test_weights_of_nonsense(wrong, match):
    with pytest.raises(ValueError, match=match):
        self_paced_weights(torch.ones(2), **wrong)


def counted(loss, losses, images=None):
    images = None if images is None else torch.tensor(images)
    return loss.per_image(logits_of(losses), zeros(len(losses)), None, images).nonzero()[:, 0].tolist()


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_the_loss_is_the_weighted_mean_and_its_weights_are_constants(batch, regulariser):
    logits, labels, _ = batch()
    logits.requires_grad_()
    losses = F.cross_entropy(logits, labels, reduction="none")
    found = SelfPacedLoss(regulariser, "absolute", start=2.0, growth=1.0)(logits, labels)
    fixed = losses.detach()
    if regulariser == "logarithmic":  # λ = 2 is brought to 0.5, and the losses with it
        v = self_paced_weights(fixed / 4, 0.5, regulariser)
    else:
        v = self_paced_weights(fixed, 2.0, regulariser, 1.0)
    assert 0 < int((v > 0).sum()) < 9
    wanted = (v * losses).sum() / v.sum()
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (found, wanted)]
    torch.testing.assert_close(*gradients)
    over_the_batch = (v * losses).mean()  # the known mistake
    assert over_the_batch.item() != pytest.approx(found.item(), rel=0.05)


def test_an_absolute_threshold_grows_by_a_factor():
    loss = SelfPacedLoss(threshold="absolute", start=0.5, growth=2.0)
    losses = [0.4, 0.9, 1.9, 3.9, 7.9]
    for epoch in range(5):
        loss.begin_epoch(epoch)
        assert counted(loss, losses) == list(range(epoch + 1))
    loss.begin_epoch(100_000)  # 2^100000 is beyond any float
    assert counted(loss, losses) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_in_the_long_run_an_absolute_threshold_lets_all_count_alike(batch, regulariser):
    logits, labels, _ = batch()
    loss = SelfPacedLoss(regulariser, "absolute", start=0.5, growth=2.0)
    loss.begin_epoch(100_000)
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels))


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_a_share_is_that_of_images_admitted_and_grows_by_addition(regulariser):
    loss = SelfPacedLoss(regulariser, start=0.2, growth=0.3, size=10)
    losses = [0.7, 0.3, 1.0, 0.1, 0.5, 0.9, 0.2, 0.8, 0.4, 0.6]
    for epoch, admitted in enumerate([2, 5, 8, 10, 10]):
        loss.begin_epoch(epoch)
        counted(loss, losses, list(range(9, -1, -1)))
        easiest = {9 - i for i, x in enumerate(losses) if x < (admitted + 0.5) / 10}
        assert set((loss.weights_now > 0).nonzero()[:, 0].tolist()) == easiest


@pytest.mark.parametrize("threshold", ["quantile", "absolute"])
@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_before_its_start_all_count_and_are_remembered(batch, regulariser, threshold):
    logits, labels, _ = batch()
    late, images = {"start": 0.4, "growth": 1.2, "start_epoch": 3, "size": 9}, torch.arange(9)
    loss = SelfPacedLoss(regulariser, threshold, **late)
    at_once = SelfPacedLoss(regulariser, threshold, **{**late, "start_epoch": 0})
    for epoch in range(3):
        loss.begin_epoch(epoch)
        found = loss(logits, labels, None, images)
        torch.testing.assert_close(found, F.cross_entropy(logits, labels))
        assert (loss.weights_now > 0).all()
        assert (loss.weights_now == 1).all()
    assert len(loss.memory.known()) == 9
    for epoch in range(2):  # growth counts from there
        loss.begin_epoch(3 + epoch)
        at_once.begin_epoch(epoch)
        assert torch.equal(loss(logits, labels, None, images), at_once(logits, labels, None, images))


def test_the_whole_share_is_plain_for_hard(batch):
    logits, labels, _ = batch()
    loss = SelfPacedLoss(start=0.5, growth=0.5, size=9)
    loss.begin_epoch(1)
    torch.testing.assert_close(loss(logits, labels, None, torch.arange(9)), F.cross_entropy(logits, labels))
    assert (loss.weights_now == 1).all()
    soft = SelfPacedLoss("linear", start=1.0, growth=0.0, size=9)
    soft(logits, labels, None, torch.arange(9))
    losses = F.cross_entropy(logits, labels, reduction="none").float()
    torch.testing.assert_close(soft.weights_now, 1 - losses / (losses.max() * (1 + 2**-10)))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.2, 1.0), st.booleans())
@example(0, 0.265625, True)
def test_the_easiest_of_each_batch_count_and_of_each_epoch_the_share(seed, start, remembers):
    random = generator(seed, "paced")
    loss = SelfPacedLoss(start=start, growth=0.1, size=1000 if remembers else None)
    everyone = torch.randperm(1000, generator=random)[:30]  # most indices lie beyond any batch
    for epoch in range(4):
        loss.begin_epoch(epoch)
        share, met, total, now = min(1.0, start + 0.1 * epoch), 0, 0, {}
        for _ in range(5):
            images = everyone[torch.randperm(30, generator=random)[:6]]
            losses = torch.rand(6, generator=random) * 5
            each = loss.per_image(logits_of(losses), zeros(6), None, images if remembers else None)
            v = each.gt(0)
            assert losses[v].max() < losses[~v].min() if 0 < v.sum() < 6 else v.any()
            assert each.mean().item() == pytest.approx(losses[v].mean().item(), rel=1e-5)
            if remembers:  # an image that is met again counts as it did last
                now |= dict(zip(images.tolist(), v.float().tolist(), strict=True))
                met, total = len(now), sum(now.values())
            else:
                met, total = met + 6, total + int(v.sum())
            forced = float(v.sum() == 1)  # one of a batch counts even where the epoch has enough
            assert -max(0.5, 0.01 * met) - 1e-9 <= total - share * met <= max(0.5, 0.01 * met) + forced + 1e-9
        if remembers:
            found = (~loss.weights_now.isnan()).nonzero()[:, 0]
            assert dict(zip(found.tolist(), loss.weights_now[found].tolist(), strict=True)) == now


def epochs_of_drift(loss, drift, epochs=4, images=480, batch=32):
    """The share that counted in each epoch, while all losses fall or rise by exp(drift) an epoch."""
    random = generator(0, "drift")
    difficulty, shares = torch.randn(images, generator=random).exp(), []
    for epoch in range(epochs):
        loss.begin_epoch(epoch)
        order, counts = torch.randperm(images, generator=random), []
        for step, rows in enumerate(order.split(batch)):
            progress = epoch + step * batch / images
            counts.append(len(counted(loss, difficulty[rows] * math.exp(drift * progress), rows.tolist())))
        shares.append(sum(counts) / images)
    return shares


@pytest.mark.parametrize("regulariser", REGULARISERS)
@pytest.mark.parametrize("size", [None, 480])
@pytest.mark.parametrize("drift", [-1.0, 0.5, 0.0])
def test_the_share_is_kept_while_the_losses_of_the_network_move(regulariser, size, drift):
    shares = epochs_of_drift(SelfPacedLoss(regulariser, start=0.6, growth=0.05, size=size), drift)
    assert shares == pytest.approx([0.6, 0.65, 0.7, 0.75], abs=0.011)


def test_batches_of_hard_images_have_fewer_that_count():
    """As where each batch is of one image set: the threshold is that of all."""
    loss, random = SelfPacedLoss(start=0.6, growth=0.0, size=3200), generator(0, "two sets")
    easy, hard = [], []
    for epoch in range(3):
        loss.begin_epoch(epoch)
        for step in range(100):
            losses = torch.rand(32, generator=random) * (1 + step % 2)
            rows = list(range(32 * step, 32 * step + 32))
            (hard if step % 2 else easy).append(len(counted(loss, losses, rows)))
    assert (sum(easy) + sum(hard)) / 9600 == pytest.approx(0.6, abs=0.01)
    assert sum(easy) / 4800 > 0.7
    assert sum(hard) / 4800 < 0.5


def test_what_was_learned_of_the_drift_goes_with_the_state():
    makes = {"start": 0.6, "growth": 0.05, "size": 480}
    loss, other, new = (SelfPacedLoss(**makes) for _ in range(3))
    epochs_of_drift(loss, -1.0, epochs=2)
    counted(loss, [0.1, 0.2, 0.3], [0, 1, 2])
    state = loss.state_dict()
    other.load_state_dict(state)
    later = torch.rand(6, generator=generator(1)).tolist()
    assert counted(other, later, list(range(6))) == counted(loss, later, list(range(6)))
    assert other.pace.state() == loss.pace.state() != new.pace.state()


def test_weights_are_recorded_for_the_epoch_under_way():
    loss = SelfPacedLoss("linear", "absolute", start=1.0, growth=1.0, size=4)
    counted(loss, [0.25, 0.5], [3, 1])
    assert loss.weights_now.tolist() == pytest.approx([math.nan, 0.5, math.nan, 0.75], nan_ok=True)
    assert (loss.weights_now > 0).tolist() == [False, True, False, True]
    counted(loss, [2.0, 0.5], [1, 2])
    loss.begin_epoch(0)  # said again
    assert loss.weights_now.tolist() == pytest.approx([math.nan, 0, 0.5, 0.75], nan_ok=True)
    loss.begin_epoch(1)
    assert loss.weights_now.isnan().all()
    assert not (loss.weights_now > 0).any()
    assert sorted(loss.memory.known().tolist()) == pytest.approx([0.25, 0.5, 2.0])


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_where_none_is_selected_the_easiest_counts(regulariser):
    loss = SelfPacedLoss(regulariser, "absolute", start=0.1, growth=1.0, size=9)
    losses = [2.0, 0.7, 3.0]
    each = loss.per_image(logits_of(losses), zeros(3), None, torch.tensor([8, 4, 0]))
    assert each.mean().item() == pytest.approx(0.7)
    assert (loss.weights_now > 0).nonzero()[:, 0].tolist() == [4]


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_images_that_are_all_alike_all_count(regulariser):
    """As they are at the start, where a classifier answers nothing."""
    loss = SelfPacedLoss(regulariser, start=0.1, growth=0.0, size=6)
    each = loss.per_image(torch.zeros(6, 3), zeros(6), None, torch.arange(6))
    torch.testing.assert_close(each, torch.full((6,), math.log(3)))


def test_the_threshold_of_a_share_is_the_least_loss_beyond_it():
    loss = SelfPacedLoss("linear", start=0.5, growth=0.0, size=4)
    counted(loss, [0.2, 0.4, 0.8, 3.0], [0, 1, 2, 3])
    assert loss.weights_now.tolist() == pytest.approx([0.75, 0.5, 0, 0], abs=1e-6)


@pytest.mark.parametrize("regulariser", REGULARISERS)
@pytest.mark.parametrize("size", [None, 3])
def test_losses_of_zero_and_without_bound(regulariser, size):
    loss = SelfPacedLoss(regulariser, start=1.0, growth=0.0, size=size)
    never = torch.tensor([[-torch.inf, 0.0]])  # the class of its label is out of question
    logits = torch.cat([logits_of([0.5, 1.0]), never])
    each = loss.per_image(logits, zeros(3), None, torch.arange(3))
    assert each.tolist() == pytest.approx([0.75, 1.5, 0])
    sure = torch.tensor([[1000.0, 0.0]]).expand(3, 2)
    assert loss.per_image(sure, zeros(3), None, torch.arange(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_losses_in_another_unit_change_no_weight(regulariser):
    losses = torch.tensor([0.3, 0.1, 0.9, 0.5, 0.7])
    found = []
    for unit in (1.0, 8.0):
        loss = SelfPacedLoss(regulariser, start=0.8, growth=0.0, size=5)
        loss.per_image(logits_of(losses * unit), zeros(5), None, torch.arange(5))
        found.append(loss.weights_now)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_without_a_memory_the_quantile_is_that_of_the_batch():
    remembering = SelfPacedLoss(start=0.5, growth=0.0, size=4)
    counted(remembering, [0.1, 0.2, 0.3, 0.4], [0, 1, 2, 3])
    for loss in (SelfPacedLoss(start=0.5, growth=0.0), remembering):
        assert counted(loss, [4.0, 1.0, 3.0, 2.0]) == [1, 3]
    assert SelfPacedLoss(start=0.5, growth=0.0).weights_now.shape == (0,)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"start": 0.0}, "share"),
        ({"start": 1.1}, "share"),
        ({"growth": -0.1}, "share"),
        ({"threshold": "absolute", "start": 0.0, "growth": 1.0}, "threshold"),
        ({"threshold": "absolute", "growth": 0.9}, "threshold"),
        ({"threshold": "median"}, "threshold"),
        ({"regulariser": "soft"}, "regulariser"),
        ({"size": 0}, "size"),
        ({"start_epoch": -1}, "start_epoch"),
    ],
)
def test_nonsense_is_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        SelfPacedLoss(**({"start": 0.5, "growth": 0.1} | wrong))


def test_images_outside_the_training_set_are_refused(batch):
    with pytest.raises(ValueError, match="images"):
        SelfPacedLoss(start=0.5, growth=0.1, size=8)(*batch(), torch.arange(9))
