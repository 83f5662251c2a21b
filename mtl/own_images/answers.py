"""The prediction for each picture as a row: for a table, a spreadsheet, a program."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mtl.data.prefetch import Unread
from mtl.errors import counted, one_line
from mtl.own_images.classifier import Answers

#: Whether a classified picture is a support picture, to the pixel ("same") or nearly ("near").
SupportMatch = Literal["", "same", "near"]

NONE = "none of these"  # the class of a picture that is more likely of none than of one
UNSURE = 0.8  # an answer of a lower probability is worth a look: of such, more than one in five is wrong
_NAMED = 12  # classes that a sentence names
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes text that begins with one of these


@dataclass(frozen=True, slots=True)
class Row:
    """The answer to one picture.

    With an open set all are probabilities among the classes and none of them together.
    """

    file: str
    answer: str  # a class, or NONE
    probability: float  # calibrated: of answers with 0.8, four of five are right
    runner_up: str  # the most probable class beside the answer
    runner_up_probability: float
    none: float | None  # the probability of being of none of the classes; None: the set is closed
    support: SupportMatch = ""

    @property
    def margin(self) -> float:
        """By how much the answer leads."""
        return self.probability - self.runner_up_probability

    def columns(self) -> dict[str, Any]:
        """By the names that columns have in files; `support_picture` where there is something to say."""
        known: dict[str, Any] = {
            "file": self.file,
            "class": self.answer,
            "probability": self.probability,
            "runner_up": self.runner_up,
            "runner_up_probability": self.runner_up_probability,
            "margin": self.margin,
        }
        if self.none is not None:
            known["none"] = self.none
        return {**known, "support_picture": self.support} if self.support else known


def rows(
    files: Sequence[object], answers: Answers, classes: Sequence[str], support: Sequence[SupportMatch] = ()
) -> list[Row]:
    """The rows of B files, which may be support pictures.

    The class is NONE where that has more than even odds; else it is the most probable one.
    """
    none = answers.none
    joint = answers.probabilities if none is None else answers.probabilities * (1 - none)[:, None]
    shares, places = (found.tolist() for found in joint.topk(2))
    nones = [None] * len(places) if none is None else none.tolist()
    made = []
    each = zip(files, places, shares, nones, support or [""] * len(places), strict=True)
    for file, (first, second), (most, next_), of_none, match in each:
        if of_none is not None and of_none > 0.5:
            made.append(Row(str(file), NONE, of_none, classes[first], most, of_none, match))
        else:
            made.append(Row(str(file), classes[first], most, classes[second], next_, of_none, match))
    return made


def percent(share: float) -> str:
    """A probability as people read it; certainty is only said where it is."""
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


def answers_sentence(answered: Sequence[Row], total: int) -> str:
    """How many of `total` pictures were classified as what.

    Support pictures are not counted: the classifier was fitted to them.
    """
    new = new_ones(answered)
    by_answer = Counter(row.answer for row in new).most_common()
    named = ", ".join(f"{one_line(name)} {count:,}" for name, count in by_answer[:_NAMED])
    more = f" and {counted(len(by_answer) - _NAMED, 'more class')}" if len(by_answer) > _NAMED else ""
    of = "" if len(answered) == total else f" of {total:,}"
    plural = "picture" if total == 1 else "pictures"
    counts = f": {named}{more}" if new else ""
    return f"{len(answered):,}{of} {plural} classified{counts}.{_support_sentence(answered)}"


def new_ones(answered: Sequence[Row]) -> list[Row]:
    """The rows of pictures that are not support pictures."""
    return [row for row in answered if row.support != "same"]


def _support_sentence(answered: Sequence[Row]) -> str:
    same, near = (sum(row.support == kind for row in answered) for kind in ("same", "near"))
    lines = ""
    if same:
        one, all_of_them = same == 1, same == len(answered)
        what = "is a support picture and says" if one else "are support pictures and say"
        left = "" if all_of_them else "; it is not counted" if one else "; they are not counted"
        lines += f" {same:,} of the {len(answered):,} pictures {what} nothing about new ones{left}."
    if near:
        lines += f" {near:,} {'shows' if near == 1 else 'show'} nearly the same as a support picture."
    return lines


def least_sure(answered: Sequence[Row]) -> list[Row]:
    """The same rows, least probable first; equals by their file."""
    return sorted(answered, key=lambda row: (row.probability, row.file))


def to_csv(answered: Sequence[Row], unread: Sequence[Unread], open_set: bool) -> bytes:
    """A table that spreadsheets open correctly: UTF-8, marked as such where it is not plain ASCII.

    Probabilities have six decimals. Files that could not be read come last, with empty cells. Text that a
    spreadsheet would compute is led by an apostrophe, or by ./ where it is a file; bytes of a name that are
    no text are written as backslashes and numbers.
    """
    text = io.StringIO(newline="")
    support: SupportMatch = "same" if any(row.support for row in answered) else ""
    names = list(Row("", "", 0, "", 0, 0 if open_set else None, support).columns())
    table = csv.DictWriter(text, names, restval="", lineterminator="\r\n")
    table.writeheader()
    for row in answered:
        table.writerow({name: _cell(name, value) for name, value in row.columns().items()})
    table.writerows({"file": _cell("file", str(one.file))} for one in unread)
    whole = text.getvalue()
    return whole.encode("utf-8" if whole.isascii() else "utf-8-sig", "backslashreplace")


def _cell(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    text = str(value)
    if text.startswith(_FORMULA):
        return os.path.join(".", text) if name == "file" else f"'{text}"
    return text


def to_json(answered: Sequence[Row], unread: Sequence[Unread], classes: Sequence[str], total: int) -> bytes:
    """All that is known, with probabilities as they are; `total`: how many pictures there are."""
    tree = {
        "asked": total,
        "classes": list(classes),
        "answers": [row.columns() for row in answered],
        "skipped": [{"file": str(one.file), "why": one.why} for one in unread],
    }
    # A name that is no Unicode has halves of surrogate pairs, which JSON can escape.
    return (json.dumps(tree, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")
