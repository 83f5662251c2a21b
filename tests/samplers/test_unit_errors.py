import pytest
import torch

from mtl.samplers.boosted import class_errors, pair_errors, task_errors


def test_tasks_met_twice_have_the_mean_of_their_errors(solved_tasks):
    _, outcome = solved_tasks([[0, 1]] * 3, [[1.0, 0.5], [0.5, 0.5], [0.0, 0.5]])
    errors, visited = task_errors(torch.tensor([2, 0, 2]), outcome, 4)
    assert errors.tolist() == [0.5, 0.0, 0.5, 0.0]  # unit 2: (0.25 + 0.75)/2
    assert visited.tolist() == [True, False, True, False]
    assert errors.dtype == torch.float64


def test_classes_have_one_minus_their_mean_recall(solved_tasks):
    batch, outcome = solved_tasks([[0, 3], [3, 1]], [[1.0, 0.25], [0.75, 0.5]])
    errors, visited = class_errors(batch.classes, outcome, 5)
    assert errors.tolist() == [0.0, 0.5, 0.0, 0.5, 0.0]
    assert visited.tolist() == [True, True, False, True, False]


def test_pairs_have_the_error_of_their_two_way_task(solved_tasks):
    confusion = [
        [[0.6, 0.2, 0.2], [0.4, 0.5, 0.1], [0.0, 0.3, 0.7]],
        [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]],
    ]
    batch, outcome = solved_tasks([[2, 0, 3], [0, 1, 2]], [[0.0] * 3] * 2, confusion=confusion)
    errors, visited = pair_errors(batch.classes, outcome, 4)
    # units: 01, 02, 03, 12, 13, 23. Pair 02, of 2 first: 0.2/0.8 and 0.4/0.9 in the first task, of 0 first
    # 0.25/0.75 and 0.5/0.75 in the second
    pair_02 = ((0.2 / 0.8 + 0.4 / 0.9) / 2 + (0.25 / 0.75 + 0.5 / 0.75) / 2) / 2
    pair_23, pair_03 = (0.2 / 0.8 + 0) / 2, (0.1 / 0.6 + 0.3 / 1.0) / 2
    pair_01, pair_12 = (0.25 / 0.75 + 0) / 2, (0 + 0.25 / 0.5) / 2
    assert errors.tolist() == pytest.approx([pair_01, pair_02, pair_03, pair_12, 0, pair_23], abs=1e-7)
    assert visited.tolist() == [True, True, True, True, False, True]


def test_a_pair_that_got_no_probability_at_all_counts_as_chance(solved_tasks):
    # Queries of 0 and 1 are all taken for 2: nothing is known of the pair 01; half of 02 and 12 is wrong.
    confusion = [[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]]
    batch, outcome = solved_tasks([[0, 1, 2]], [[0.0, 0.0, 1.0]], confusion=confusion)
    assert pair_errors(batch.classes, outcome, 3)[0].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(("right", "error"), [(True, 0.0), (False, 1.0)])
def test_pairs_that_are_always_right_or_always_taken_for_each_other(solved_tasks, right, error):
    confusion = [[[1.0, 0.0], [0.0, 1.0]] if right else [[0.0, 1.0], [1.0, 0.0]]]
    batch, outcome = solved_tasks([[0, 1]], [[float(right)] * 2], confusion=confusion)
    assert pair_errors(batch.classes, outcome, 2)[0].tolist() == [error]


@pytest.mark.parametrize("of", [class_errors, pair_errors])
def test_errors_lie_in_range_and_keep_the_order_of_classes_out(of, random_solved):
    batch, outcome = random_solved(30, 5, 12, seed=0)
    errors, visited = of(batch.classes, outcome, 12)
    assert bool(((errors >= 0) & (errors <= 1)).all())
    assert bool((errors[~visited] == 0).all())
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = type(outcome)(
        outcome.loss,
        outcome.accuracy,
        outcome.recall[:, order],
        outcome.confusion[:, order][:, :, order],
    )
    again, _ = of(batch.classes[:, order], turned, 12)
    torch.testing.assert_close(again, errors, rtol=1e-6, atol=1e-9)


def test_a_unit_that_there_is_not_is_refused(solved_tasks):
    batch, outcome = solved_tasks([[0, 3]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match="unit 3 visited, but there are only 3"):
        class_errors(batch.classes, outcome, 3)
