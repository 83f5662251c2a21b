"""What a classifier says of itself: figures by hand, the promise of its interval, and the sentences."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_classifiers import HEADS, embedder, fitted

from mtl.models.heads import BaseLearner
from mtl.own_images.classifier import FittedClassifier
from mtl.own_images.learning_curve import R, share_right
from mtl.own_images.leave_one_out import HeldOut, leave_out
from mtl.own_images.self_assessment import (
    DataAdvice,
    LabelIssue,
    SelfAssessment,
    confusions,
    data_advice,
    in_sentences,
    label_issues,
    mislabelled_below,
    more_images,
    self_assessment,
)
from mtl.own_images.support import Support
from mtl.runtime.seeds import generator
from mtl.stats import wilson

CLASSES = ("ash", "elm", "oak")


def knowing(counts, answers, temperature=1.0) -> FittedClassifier:
    """A classifier of ash, elm and oak with these numbers of images, that answered left-out ones so."""
    names = [name for name, count in zip(CLASSES, counts, strict=True) for _ in range(count)]
    support = Support.of(
        torch.zeros(len(names), 2), names, [f"{name}/{i}.png" for i, name in enumerate(names)]
    )
    rows = (support.counts()[support.labels] > 1).nonzero().flatten()
    logits = torch.tensor(answers).log() if answers else torch.empty(0, 3)
    known = replace(
        fitted(embedder()), support=support, held_out=HeldOut(rows, logits), temperature=temperature
    )
    return replace(known, embedder=replace(known.embedder, temperatures=()))


def towards(*answered, sure=0.8):
    return [[sure if k == c else (1 - sure) / 2 for k in range(3)] for c in answered]


def by_the_law(accuracy, shot, more):
    """The accuracy with more images by a fine search, over the law of mtl/own_images/learning_curve.py."""
    limits = np.linspace(0, 8, 8001)
    at = limits[np.abs(share_right(limits / np.sqrt(1 + R / shot), 3) - accuracy).argmin()]
    return float(share_right(at / np.sqrt(1 + R / more), 3))


def test_the_accuracy_is_that_of_left_out_images_made_up_for_the_one_that_lacked():
    found = self_assessment(knowing((3, 3, 3), towards(0, 0, 0, 1, 1, 2, 2, 2, 0)))
    assert (found.tested, found.right) == (9, 7)
    assert found.accuracy == pytest.approx(by_the_law(7 / 9, 2, 3), abs=1e-4)
    assert found.accuracy > 7 / 9
    answers = 0.8 * 9
    assert (found.low, found.high) == pytest.approx(wilson(found.accuracy * answers, answers))


def test_classes_count_alike_and_those_with_one_image_not_at_all():
    found = self_assessment(knowing((1, 4, 2), towards(1, 1, 1, 1, 0, 2)))
    assert (found.tested, found.right) == (6, 5)
    before, now = 3 / (1 + 1 / 3 + 1), 3 / (1 + 1 / 4 + 1 / 2)
    assert found.accuracy == pytest.approx(by_the_law(0.75, before, now), abs=1e-4)  # of recalls 1 and 1/2
    answers = 0.8 * 2**2 / (1 / 4 + 1 / 2)
    assert (found.low, found.high) == pytest.approx(wilson(found.accuracy * answers, answers))


@pytest.mark.parametrize(("answers", "accuracy"), [((0, 0, 1, 1, 2, 2), 1.0), ((1, 1, 2, 2, 0, 0), 0.0)])
def test_all_right_and_all_wrong_stay_so(answers, accuracy):
    found = self_assessment(knowing((2, 2, 2), towards(*answers)))
    assert found.accuracy == accuracy
    assert 0 <= found.low <= accuracy <= found.high <= 1
    assert found.high - found.low > 0.3


def test_where_each_class_has_one_image_nothing_is_known():
    found = self_assessment(knowing((1, 1, 1), []))
    assert (found.tested, found.right, found.accuracy) == (0, 0, None)
    assert (found.low, found.high) == (0.0, 1.0)
    assert (list(found.label_issues), list(found.data_advice)) == ([], [])
    assert in_sentences(found) == [
        "Every class has one image, so how well they can be distinguished cannot be tested."
    ]


def test_doubts_are_calibrated_as_answers_that_lack_an_image():
    answers = towards(0, 0, 0, 1, 1, 2, 2, 2, sure=0.96) + towards(0, sure=0.98)
    made = knowing((3, 3, 3), answers)
    assert [(d.row, d.like) for d in self_assessment(made).label_issues] == [(8, 0), (5, 2)]
    assert self_assessment(replace(made, temperature=2.0)).label_issues == []
    # at 2 images the temperature is twice that at 3: the same answers are less sure of themselves
    less = replace(made, embedder=replace(made.embedder, temperatures=((2, 2.0), (3, 1.0))))
    assert self_assessment(less).label_issues == []
    assert self_assessment(replace(less, temperature=0.5)).label_issues == self_assessment(made).label_issues


def test_confused_classes_are_advised_on():
    answers = towards(*[0] * 12, *[0] * 12, *[2] * 12, sure=0.9)
    (found,) = self_assessment(knowing((12, 12, 12), answers)).data_advice
    assert (found.first, found.second, found.more_of_first, found.more_of_second) == (1, 0, 12, 12)
    assert found.confusion == pytest.approx((0.9 + 0.05) / 2)


def test_a_classifier_has_an_outlook_of_the_answers_that_it_held_out():
    made = fitted(embedder(head=HEADS["cosine prototypes"]), (4, 3, 2))
    found = self_assessment(made)
    right = made.held_out.logits.argmax(1) == made.support.labels[made.held_out.rows]
    assert (found.tested, found.right) == (9, int(right.sum()))
    assert found.support is made.support


def test_its_interval_holds_the_accuracy_on_new_images_as_often_as_it_says():
    """Clouds of points; with all answers counted as independent it would, too, be below 95 of 100."""
    head, held, off = HEADS["euclidean prototypes"], 0, []
    learner = BaseLearner(head, 10, 3).requires_grad_(False)
    made = knowing((1, 1, 1), [])
    for seed in range(150):
        random = generator(seed, "outlook")
        centres = 0.6 * torch.randn(3, 1, 10, generator=random)
        mine, new = (centres + torch.randn(3, n, 10, generator=random) for n in (4, 200))
        labels = torch.arange(3).repeat_interleave(4)
        support = Support.of(mine.flatten(0, 1), [CLASSES[k] for k in labels], [""] * 12)
        held_out = leave_out(learner, support.features, labels, 3)
        found = self_assessment(replace(made, support=support, held_out=held_out))
        answers = learner.adapt(support.features[None], labels[None], new.flatten(0, 1)[None], 3)[0].argmax(
            -1
        )
        true = float((answers == torch.arange(3).repeat_interleave(200)).double().mean())
        held += found.low <= true <= found.high
        off.append((found.accuracy - true, found.right / found.tested - true))
    assert held >= 0.92 * 150
    said, raw = np.mean(off, 0)
    assert abs(said) < 0.015
    assert raw < said - 0.01


def saying(accuracy=0.714, doubts=(), advice=(), counts=(2, 2, 2), classes=CLASSES) -> list[str]:
    names = [name for name, count in zip(classes, counts, strict=True) for _ in range(count)]
    support = Support.of(torch.zeros(len(names), 1), names, [f"mine/{i}.png" for i in range(len(names))])
    return in_sentences(SelfAssessment(support, 1206, 800, accuracy, 0.405, 0.906, doubts, advice))


ABOUT = (
    "About 71 % of new images of each class will be right on average (95 % interval 40 to 91): "
    "of 1,206 support images, left out in turn, 800 were."
)


def test_a_person_is_told_in_sentences():
    assert saying() == [ABOUT]
    doubts = [LabelIssue(3, 1, 0.01, 0, 0.97)]
    advice = [DataAdvice(0, 1, 0.312, 3, 0), DataAdvice(2, 1, 0.2, 3, 2)]
    assert saying(doubts=doubts, advice=advice) == [
        ABOUT,
        "mine/3.png (elm) looks like ash (0.97): look at its label.",
        "Add 3 more of ash: it is confused with elm (0.31).",
        "Add 3 more of oak and 2 of elm: they are confused (0.20).",
    ]


def test_classes_that_were_not_tested_are_named():
    one = "Not tested, and not counted, as it has one image: elm."
    assert saying(counts=(2, 1, 2)) == [ABOUT, one]
    seven = tuple("abcdefgh")
    many = "Not tested, and not counted, as they have one image each: a, b, c, d, e and 2 more."
    assert saying(counts=(1,) * 7 + (2,), classes=seven) == [ABOUT, many]


def test_of_many_doubts_five_are_told():
    lines = saying(doubts=[LabelIssue(k % 6, 0, 0.0, 1, 0.9) for k in range(1205)])
    assert len(lines) == 7
    assert lines[-1] == "... and 1,200 more"
    assert len(saying(doubts=[LabelIssue(k, 0, 0.0, 1, 0.9) for k in range(5)])) == 6


def test_names_that_are_no_line_are_shown_on_one():
    lines = saying(advice=[DataAdvice(0, 1, 0.3, 3, 0)], classes=("a\nb", "c\td", "e"))
    assert len(lines) == 2
    assert not any(letter in line for line in lines for letter in "\n\t")


@pytest.mark.parametrize(("elms", "asked"), [(19, True), (20, False)])
def test_of_classes_with_many_images_no_more_are_asked_for(elms, asked):
    names = ["ash"] * 25 + ["elm"] * elms
    support = Support.of(torch.zeros(len(names), 2), names, [""] * len(names))
    (line,) = in_sentences(
        SelfAssessment(support, 44, 40, 0.9, 0.8, 1.0, [], [DataAdvice(1, 0, 0.35, 20, 20)])
    )[1:]
    assert line.startswith("Add 20 more of elm") == asked
    assert line.startswith("elm and ash are confused (0.35) though there are many images of both") != asked


@pytest.mark.parametrize("way", [2, 5, 40])
def test_at_the_bound_a_label_is_as_likely_wrong_as_right(way):
    p = mislabelled_below(way)
    wrong, right = 0.1 * (1 - p) / (way - 1), 0.9 * p
    assert wrong == pytest.approx(right)
    assert mislabelled_below(5) == pytest.approx(1 / 37)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 8), st.integers(0, 40), st.integers(0, 10_000))
def test_they_are_the_images_below_the_bound_in_order(way, count, seed):
    random = torch.Generator().manual_seed(seed)
    probabilities = torch.softmax(4 * torch.randn(count, way, generator=random, dtype=torch.float64), -1)
    labels = torch.randint(way, (count,), generator=random)
    rows = torch.arange(count) * 3
    found = label_issues(probabilities, labels, rows)
    own = [probabilities[i, label].item() for i, label in enumerate(labels.tolist())]
    bound = 0.1 / (0.1 + 0.9 * (way - 1))
    assert [d.row for d in found] == [
        3 * i for p, i in sorted((p, i) for i, p in enumerate(own)) if p < bound
    ]
    for d in found:
        assert d.probability == probabilities[d.row // 3].max().item()
        assert d.like == probabilities[d.row // 3].argmax().item() != d.label == labels[d.row // 3]


def answered(rows):
    """Rows (label, probabilities, how many images) as probabilities (H, N) and labels (H,)."""
    probabilities = torch.tensor([p for _, p, n in rows for _ in range(n)], dtype=torch.float64)
    return probabilities, torch.tensor([label for label, _, n in rows for _ in range(n)])


def test_classes_that_were_not_asked_have_what_others_tell_of_them():
    probabilities, labels = answered([(1, (0.7, 0.2, 0.1, 0.0), 20)])
    found, asked = confusions(probabilities, labels, 4)
    assert found[[0, 3, 4]].tolist() == pytest.approx([0.7, 0.1, 0.0])
    assert all(math.isnan(c) for c in found[[1, 2, 5]].tolist())
    assert asked.tolist() == [20, 0, 0, 20, 20, 0]
    assert data_advice(probabilities, labels, torch.tensor([1, 20, 1, 1])) == [
        DataAdvice(0, 1, pytest.approx(0.7), 3, 0)
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 10_000))
def test_confusion_is_the_mean_probability_of_either_class_for_the_other(way, queries, seed):
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(way * queries, way, generator=random, dtype=torch.float64)
    labels = torch.arange(way).repeat_interleave(queries)
    found, _ = confusions(torch.softmax(logits, -1), labels, way)
    table = torch.softmax(logits, -1).view(way, queries, way).mean(1)
    wanted = [(table[i, j] + table[j, i]).item() / 2 for i in range(way) for j in range(i + 1, way)]
    assert found.tolist() == pytest.approx(wanted)


PLAIN, CONFUSED = (0.9, 0.05, 0.05), (0.5, 0.45, 0.05)


def test_the_pair_that_is_surely_more_confused_than_others_is_told():
    probabilities, labels = answered(
        [(0, CONFUSED, 20), (1, (0.4, 0.55, 0.05), 20), (2, (0.05, 0.05, 0.9), 20)]
    )
    (found,) = data_advice(probabilities, labels, torch.tensor([20, 20, 20]))
    assert found == DataAdvice(0, 1, pytest.approx(0.425), 20, 20)  # equal recalls and numbers: as they come
    assert wilson(0.425 * 40, 40)[0] > (0.425 + 0.05 + 0.05) / 3
    # of few images the same is no proof: the low end of the interval is below the mean of the pairs
    assert wilson(0.425 * 4, 4)[0] < (0.425 + 0.05 + 0.05) / 3
    few = answered([(0, CONFUSED, 2), (1, (0.4, 0.55, 0.05), 2), (2, (0.05, 0.05, 0.9), 2)])
    assert data_advice(*few, torch.tensor([2, 2, 2])) == []


def test_first_is_the_class_with_fewer_images_and_of_two_alike_the_one_with_lower_recall():
    rows = [(0, (0.6, 0.4), 30), (1, (0.6, 0.4), 30)]  # 1 is always answered wrongly
    assert data_advice(*answered(rows), torch.tensor([30, 30]))[0].first == 1
    found = data_advice(*answered(rows), torch.tensor([4, 30]))[0]
    assert (found.first, found.more_of_first, found.more_of_second) == (0, 4, 0)


def test_pairs_that_are_well_told_apart_are_left_alone_however_many_images_say_so():
    rows = [(0, (0.905, 0.095, 0.0), 3000), (1, (0.095, 0.905, 0.0), 3000), (2, (0.0, 0.0, 1.0), 3000)]
    assert data_advice(*answered(rows), torch.tensor([3000] * 3)) == []
    rows = [(0, (0.89, 0.11, 0.0), 3000), (1, (0.11, 0.89, 0.0), 3000), (2, (0.0, 0.0, 1.0), 3000)]
    assert len(data_advice(*answered(rows), torch.tensor([3000] * 3))) == 1


def test_where_all_are_confused_alike_no_pair_is_told():
    rows = [(k, (1 / 3, 1 / 3, 1 / 3), 500) for k in range(3)]
    assert data_advice(*answered(rows), torch.tensor([500] * 3)) == []


def test_the_most_confused_come_first():
    rows = [
        (0, (0.5, 0.5, 0, 0, 0, 0), 100),
        (1, (0.5, 0.5, 0, 0, 0, 0), 100),
        (2, (0, 0, 0.4, 0.6, 0, 0), 100),
        (3, (0, 0, 0.6, 0.4, 0, 0), 100),
        (4, (0, 0, 0, 0, 1.0, 0), 100),
        (5, (0, 0, 0, 0, 0, 1.0), 100),
    ]
    found = data_advice(*answered(rows), torch.tensor([100] * 6))
    assert [(one.first, one.second) for one in found] == [
        (2, 3),
        (1, 0),
    ]  # all of 1 and of 2 and 3 are answered wrongly
    assert [one.confusion for one in found] == pytest.approx([0.6, 0.5])


@pytest.mark.parametrize(
    ("fewer", "other", "wanted"),
    [(1, 1, (3, 3)), (2, 4, (3, 1)), (5, 5, (5, 5)), (5, 12, (5, 0)), (5, 10, (5, 0)), (100, 110, (20, 10))],
)
def test_the_smaller_class_is_doubled_within_bounds_and_the_other_not_passed(fewer, other, wanted):
    assert more_images(fewer, other) == wanted
