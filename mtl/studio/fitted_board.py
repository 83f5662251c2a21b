"""The classifier of a board: what new pictures are, which to label next, how well classes are told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mtl.config import Log
from mtl.data.near_copies import Compared, Prints, SeenBefore
from mtl.errors import UserError, counted
from mtl.own_images.answers import Row, SupportMatch, least_sure, rows
from mtl.own_images.classifier import FittedClassifier
from mtl.own_images.label_next import label_next
from mtl.own_images.predict import support_matches
from mtl.own_images.published import fit_with_chosen_head
from mtl.own_images.read_support import distinct
from mtl.own_images.self_assessment import held_out_probabilities, in_sentences, self_assessment
from mtl.own_images.support import Support
from mtl.studio.board import Board
from mtl.studio.features import Features

_NEXT = 6  # pictures to label next
_OF_A_PAIR = 3  # pictures of each of two classes that are confused

View = dict[str, Any]


@dataclass(frozen=True, eq=False)
class FittedBoard:
    """The classifier of a board."""

    board: Board
    features: Features
    classifier: FittedClassifier
    names: Mapping[str, str]  # of pictures by their ids, each different
    left_out: list[str]  # of its support set, a sentence each

    def answers(self, near: bool = True) -> list[tuple[str, Row]]:
        """Of every new picture its id and answer, the least sure first; `near` also finds near copies."""
        new = self.board.new()
        if not new:
            return []
        features, prints = self._features(new)
        known = self.classifier.support.prints
        matches = support_matches(SeenBefore(known), prints) if near else known_pictures(known, prints)
        answers = self.classifier.answer(features)
        found = rows([self.names[key] for key in new], answers, self.classifier.classes, matches)
        key_of = dict(zip((row.file for row in found), new, strict=True))
        return [(key_of[row.file], row) for row in least_sure(found)]

    def view(self) -> View:
        """What the page shows of it, as JSON."""
        answered = self.answers(near=False)
        return {
            "answers": [{"id": key, **asdict(row)} for key, row in answered],
            "next": self._next([key for key, row in answered if row.support != "same"]),
            **self._assessed(),
        }

    def _features(self, keys: Sequence[str]) -> tuple[Tensor, Prints]:
        """Features (n, D) of pictures as the classifier takes them, and their prints."""
        features, prints = self.features.of(keys)
        if not self.features.embedder.head_settled:  # chosen with the classes, and its transformation with it
            features = self.classifier.embedder.base_learner.transform_features(features)
        return features, prints

    def _next(self, new: Sequence[str]) -> list[str]:
        if len(new) < 2:
            return []
        features, _ = self._features(new)
        shares, known = self.classifier.answer(features).probabilities, self.classifier.support.features
        return [new[row] for row in label_next(shares, features, known, _NEXT)]

    def _assessed(self) -> View:
        """Held-out accuracy, doubtful labels, and confused pairs with the pictures that show it best."""
        classifier, key_of = self.classifier, {name: key for key, name in self.names.items()}
        assessment, views = self_assessment(classifier), classifier.views
        rest = in_sentences(replace(assessment, label_issues=(), data_advice=()))
        held, probabilities = classifier.held_out.rows, held_out_probabilities(classifier)
        labels, said = views.labels[held], probabilities.argmax(1)
        keys = [key_of[views.files[row]] for row in held.tolist()]

        def taken_for(one: int, other: int) -> list[str]:
            mine = (labels == one).nonzero().flatten()
            worst = mine[probabilities[mine, other].argsort(descending=True)]
            return [keys[i] for i in worst[:_OF_A_PAIR].tolist()]

        doubts = [
            {
                "id": key_of[views.files[issue.row]],
                "label": views.classes[issue.label],
                "like": views.classes[issue.like],
                "probability": issue.probability,
            }
            for issue in assessment.label_issues
        ]
        pairs = [
            {
                "first": {"name": views.classes[a.first], "more": a.more_of_first},
                "second": {"name": views.classes[a.second], "more": a.more_of_second},
                "confusion": a.confusion,
                "pictures": [taken_for(a.first, a.second), taken_for(a.second, a.first)],
            }
            for a in assessment.data_advice
        ]
        counts = torch.bincount(labels, minlength=views.way).tolist()
        right = torch.bincount(labels[said == labels], minlength=views.way).tolist()
        return {
            "accuracy": assessment.accuracy,
            "low": assessment.low,
            "high": assessment.high,
            "sentences": rest,
            "doubts": [d for d in doubts if not self.board.pictures[str(d["id"])].kept],
            "pairs": pairs,
            "tested": {name: [right[i], counts[i]] for i, name in enumerate(views.classes)},
            "fitted": f"{counted(views.way, 'class')}, {counted(len(classifier.support), 'picture')}",
        }


def fit_board(board: Board, features: Features, compared: Compared) -> FittedBoard | str:
    """The classifier of a board's classes, or a sentence that says why there is none.

    Args:
        board: whose pictures of a class are the support set.
        features: of all its pictures.
        compared: near copies that were found before, and gets those found now.
    """
    labelled = board.labelled()
    if len({name for _, name in labelled}) < 2:
        return "Two classes with a picture each are needed; drop pictures into them."
    names, classes = _distinct_names(board), [name for _, name in labelled]
    of_each, prints = features.of(key for key, _ in labelled)
    files = [names[key] for key, _ in labelled]
    kept, left_out = distinct(prints.keys(), classes, files)
    if len({classes[row] for row in kept}) < 2:
        return "Two classes with different pictures are needed."
    support = Support.of(of_each, classes, files, prints).some(kept)
    try:
        features.embedder.require_way(support.way)
    except UserError as error:
        return str(error)
    classifier = fit_with_chosen_head(features.embedder, support, Log(quiet=True), compared)
    return FittedBoard(board, features, classifier, names, left_out)


def known_pictures(known: Prints, prints: Prints) -> list[SupportMatch]:
    """Which pictures are known ones, to the pixel."""
    keys = {key for key in known.keys() if key}  # noqa: SIM118
    return ["same" if key in keys else "" for key in prints.keys()]  # noqa: SIM118


def _distinct_names(board: Board) -> dict[str, str]:
    """Names of pictures by their ids; of those with the same name, the later ones are numbered."""
    taken: dict[str, str] = {}
    for key, picture in board.pictures.items():
        name, number = picture.name, 2
        while name in taken:
            name, number = f"{picture.name} ({number})", number + 1
        taken[name] = key
    return {key: name for name, key in taken.items()}
