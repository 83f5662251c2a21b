import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from mtl.own_images.score_counts import score

CLASSES = ("ash", "elm", "fir", "oak")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_scores_are_those_of_scikit_learn(pairs):
    labels, answers = (torch.tensor(part) for part in zip(*pairs, strict=True))
    found = score(labels, answers, CLASSES)
    assert found.total.accuracy == pytest.approx(accuracy_score(labels, answers))
    recalls = [share.accuracy for share in found.classes.values()]
    assert found.balanced == pytest.approx(sum(recalls) / len(recalls))
    if len(set(labels.tolist())) > 1 and set(answers.tolist()) <= set(labels.tolist()):
        assert found.balanced == pytest.approx(balanced_accuracy_score(labels, answers))
    matrix = confusion_matrix(labels, answers, labels=range(4))
    wrong = {(CLASSES[k], CLASSES[j]): matrix[k, j] for k in range(4) for j in range(4) if k != j}
    assert {(a, b): n for a, b, n in found.confusions} == {pair: n for pair, n in wrong.items() if n}


def test_the_most_frequent_confusion_is_first_and_intervals_are_wilsons():
    labels, answers = torch.tensor([0] * 10 + [1] * 4), torch.tensor([0] * 7 + [1, 2, 2] + [1, 1, 1, 3])
    found = score(labels, answers, CLASSES)
    assert found.confusions == (("ash", "fir", 2), ("ash", "elm", 1), ("elm", "oak", 1))
    assert found.classes["ash"].interval == pytest.approx((0.3968, 0.8922), abs=1e-4)  # 7 of 10
    assert list(found.classes) == ["ash", "elm"]


def test_no_pictures_have_no_score():
    with pytest.raises(ValueError, match="one picture or more"):
        score(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), CLASSES)
