import pytest

from mtl.ledger.queries import whole_groups
from mtl.ledger.store import Ledger


@pytest.mark.parametrize(
    ("groups", "most", "whole"),
    [
        ({0: "x", 1: "y", 2: "x"}, 2, True),
        ({0: "x", 1: "y", 2: "z"}, 3, True),
        ({0: "x", 1: "y", 2: "z"}, 2, False),  # too many
        ({0: "x", 1: "x", 2: "x"}, 9, False),  # too few
        ({0: "x", 1: "y"}, 9, False),  # one class is in none
        ({0: "x", 1: "y", 2: ""}, 9, False),
        (None, 9, False),
    ],
)
def test_groups_stand_for_their_classes_where_each_is_in_one(tmp_path, solved, groups, most, whole):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.register_classes("train", dict.fromkeys(range(5), "a"), groups)
        ledger.register_classes("test", dict.fromkeys(range(5), "a"), dict.fromkeys(range(3), "other"))
        ledger.append("p", 0, 0, *solved([[0, 1]], [[1.0, 1.0]]), "train")
        found = whole_groups(ledger, ledger.phase("p"), [0, 1, 2], most)
        assert found == (groups if whole else None)
        assert whole_groups(ledger, ledger.phase("p"), [], most) is None
