import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.ledger.class_history import class_sums, stretches
from mtl.ledger.store import Ledger


def test_stretches_by_hand():
    assert stretches([0, 1, 2, 3], 2) == [(0, 1), (2, 3)]
    assert stretches([3, 5, 6, 10, 11], 2) == [(3, 5), (6, 11)]
    assert stretches([4], 7) == [(4, 4)]
    assert stretches([], 7) == []


@given(st.sets(st.integers(0, 1000)).map(sorted), st.integers(1, 40))
def test_every_round_is_in_one_stretch_and_stretches_are_alike(rounds, most):
    found = stretches(rounds, most)
    assert len(found) == min(most, len(rounds))
    inside = [[r for r in rounds if first <= r <= last] for first, last in found]
    assert [r for part in inside for r in part] == rounds
    sizes = [len(part) for part in inside]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert all((part[0], part[-1]) == stretch for part, stretch in zip(inside, found, strict=True))


def test_no_stretch_at_all_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        stretches([1, 2], 0)


def test_sums_of_classes_by_hand(tmp_path, solved):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.append("q", 0, 0, *solved([[1, 2]], [[0.0, 0.0]]), "train")
        ledger.append("p", 0, 0, *solved([[1, 2]], [[0.25, 1.0]]), "train")
        ledger.append("p", 1, 0, *solved([[2, 3]], [[0.5, 1.0]], "hard"), "train")
        ledger.append("p", 2, 0, *solved([[3, 2]], [[0.0, 0.25]], "hard"), "train")
        ledger.append("p", 4, 0, *solved([[1, 2]], [[0.0, 0.75]], "resampled"), "train")
        at = ledger.phase("p")
        assert sorted(class_sums(ledger, at, [(0, 2), (4, 4)])) == [
            (0, 1, 4, 1, 0), (0, 2, 12, 7, 2), (0, 3, 8, 4, 2), (1, 1, 4, 0, 1), (1, 2, 4, 3, 1)
        ]  # fmt: skip
        assert class_sums(ledger, at, []) == []
