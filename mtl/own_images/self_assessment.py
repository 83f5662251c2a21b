"""What a classifier says of itself before it answers: how well it will do, and what its support set lacks.

All of it comes from its answers to its own support images while they were left out, one of each class at a
time (mtl/own_images/leave_one_out.py). So they were answered by an image less of each class, which is made
up for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mtl.errors import one_line
from mtl.own_images.classifier import Fitted
from mtl.own_images.data_advice import Advice, Doubt, advice, doubts
from mtl.own_images.forecast import carried_on
from mtl.own_images.support import Support, even_shot, one_less
from mtl.own_images.temperature import held_out_temperature
from mtl.stats import wilson

_WORTH = 0.8  # of an answer: those of one support set depend on each other
_SHOWN = 5  # doubts, and pieces of advice, that are told
_NAMED = 5  # classes that a sentence names
_MANY = 20  # images of a class, beyond which more change little


@dataclass(frozen=True, eq=False)
class Outlook:
    """What left-out support images tell."""

    support: Support
    tested: int  # images that were left out and asked, one of each view
    right: int
    accuracy: float | None  # expected of new images, mean of the classes that were asked; None: none was
    low: float  # 95 % interval of it
    high: float
    doubts: Sequence[Doubt]  # the worst first; rows of `support.by_view()`
    advice: Sequence[Advice]  # the most confused first


def outlook(fitted: Fitted) -> Outlook:
    """Accuracy to expect, images that look mislabelled, and pairs of classes that need more images.

    The interval is Wilson's, of 0.8 of the answers with which a single recall would vary as much as the mean
    of C recalls: C² / Σ 1/n. Measured in docs/calibration.md.
    """
    support, rows = fitted.views, fitted.held_out.rows
    labels, counts = support.labels[rows], support.counts()
    temperature = held_out_temperature(fitted.temperature, support, fitted.embedder.temperatures)
    probabilities = torch.softmax(fitted.held_out.logits.double() / temperature, -1)
    right = (probabilities.argmax(-1) == labels).double()
    accuracy, low, high = None, 0.0, 1.0
    if len(rows):
        asked = torch.bincount(labels, minlength=support.way).double()
        recalls = torch.zeros_like(asked).index_add_(0, labels, right)[asked > 0] / asked[asked > 0]
        before, now = even_shot(one_less(counts)), even_shot(counts)
        accuracy = carried_on(float(recalls.mean()), support.way, before, now)
        answers = _WORTH * len(recalls) ** 2 / float((1 / asked[asked > 0]).sum())
        low, high = wilson(min(accuracy * answers, answers), answers)
    found = doubts(probabilities, labels, rows), advice(probabilities, labels, counts)
    return Outlook(fitted.support, len(rows), int(right.sum()), accuracy, low, high, *found)


def told(found: Outlook) -> list[str]:
    """An outlook in sentences, the most important first."""
    lines, views = [], found.support.by_view()
    copied = len(views) < len(found.support)
    if found.accuracy is None:
        what = "one picture, or near copies of one," if copied else "one image,"
        lines.append(f"Every class has {what} so that how well they are told apart cannot be tested.")
    else:
        what = "views of the classes" if copied else "support images"
        lines.append(
            f"About {100 * found.accuracy:.0f} % of new images of each class will be right on average (95 % "
            f"interval {100 * found.low:.0f} to {100 * found.high:.0f}): of {found.tested:,} {what}, "
            f"left out in turn, {found.right:,} were."
        )
        lines += _untested(views, "view" if copied else "image")
    lines += near_copies_told(found.support)
    suspects = [_doubted(one, views) for one in found.doubts]
    return lines + _first(suspects) + _first([_advised(one, views) for one in found.advice])


def _untested(support: Support, unit: str) -> list[str]:
    single = (support.counts() == 1).nonzero().flatten().tolist()
    names = ", ".join(one_line(support.classes[k]) for k in single[:_NAMED])
    more = f" and {len(single) - _NAMED:,} more" if len(single) > _NAMED else ""
    why = f"it has one {unit}" if len(single) == 1 else f"they have one {unit} each"
    return [f"Not tested, and not counted, as {why}: {names}{more}."] if single else []


def near_copies_told(support: Support) -> list[str]:
    """A sentence for each class some of whose pictures are near copies, the one of fewest views first."""
    counts = zip(support.by_view().counts().tolist(), support.counts().tolist(), strict=True)
    lines = []
    for (views, pictures), name in sorted(zip(counts, support.classes, strict=True)):
        if views < pictures:
            what = "1 view" if views == 1 else f"{views:,} views"
            todo = ": vary them" if 2 * views <= pictures else ""
            lines.append(
                f"{pictures:,} pictures of {one_line(name)} are {what}, as near copies count once{todo}."
            )
    return _first(lines)


def _doubted(doubt: Doubt, support: Support) -> str:
    file, label, like = support.files[doubt.row], support.classes[doubt.label], support.classes[doubt.like]
    looks = f"looks like {one_line(like)} ({doubt.probability:.2f})"
    return f"{one_line(file)} ({one_line(label)}) {looks}: look at its label."


def _advised(one: Advice, support: Support) -> str:
    first, second = (one_line(support.classes[k]) for k in (one.first, one.second))
    if int(support.counts()[[one.first, one.second]].min()) >= _MANY:
        return (
            f"{first} and {second} are confused ({one.confusion:.2f}) though there are many images of both: "
            "more bring little, the network may not see what tells them apart."
        )
    if one.more_of_second:
        more = f"Add {one.more_of_first} more of {first} and {one.more_of_second} of {second}"
        return f"{more}: they are confused ({one.confusion:.2f})."
    return f"Add {one.more_of_first} more of {first}: it is confused with {second} ({one.confusion:.2f})."


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return lines if more <= 0 else [*lines[:_SHOWN], f"... and {more:,} more"]
