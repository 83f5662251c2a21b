"""A classifier of a person's own classes: fitted to a support set, it answers features."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from mtl.data.near_copies import Compared
from mtl.models.heads import LinearHead
from mtl.own_images.embedder import Embedder
from mtl.own_images.leave_one_out import HeldOut, OpenSet, fit_open_set, fit_temperature, leave_out
from mtl.own_images.support import Support, find_views

#: What the names of classes are read as, where a program gave them and not a folder.
LabelKind = Literal["str", "int", "float", "bool"]


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers to B images."""

    probabilities: Tensor  # (B, N) float64, calibrated; each row sums to 1
    none: Tensor | None  # (B,) float64: the probability of being of none of the classes, with `open_set`

    def classes(self) -> Tensor:
        """(B,) the most probable class."""
        return self.probabilities.argmax(-1)


@dataclass(frozen=True, eq=False)
class FittedClassifier:
    """A base learner adapted to a support set, with what is known of its errors."""

    embedder: Embedder
    support: Support
    head: LinearHead  # of T = 1 task
    held_out: HeldOut  # its answers to its own support images, one of each view: rows of `views`
    temperature: float  # logits are divided by it
    stored_open_set: OpenSet | None = None  # of a file
    label_kind: LabelKind = "str"
    label_dtype: str = ""  # of numpy, where labels are numbers that a program gave

    @property
    def classes(self) -> tuple[str, ...]:
        return self.support.classes

    @property
    def views(self) -> Support:
        """One support image of each view: what the classifier can be tested with."""
        return self.support.by_view()

    @cached_property
    def open_set(self) -> OpenSet | None:
        """None: no class has two views, so nothing is known of unlike ones. Fitted where it is needed."""
        return self.stored_open_set or fit_open_set(self.views)

    @torch.no_grad()
    def answer(self, features: Tensor, open_set: bool = False) -> Answers:
        """Classifies embedded features (B, D).

        Raises:
            ValueError: `open_set` with a classifier that has none.
        """
        logits = self.head(self.embedder.base_learner.transform_queries(features)[None])[0]
        probabilities = torch.softmax(logits.double() / self.temperature, -1)
        if not open_set:
            return Answers(probabilities, None)
        if self.open_set is None:
            raise ValueError("no class has two different images, so unlike images cannot be recognised")
        return Answers(probabilities, self.open_set.none(features))


@torch.no_grad()
def fit_classifier(
    embedder: Embedder, support: Support, compared: Compared | None = None
) -> FittedClassifier:
    """Adapts to a support set, and classifies its images, each left out in turn.

    Near copies count as one image, whose feature is the mean of theirs. They are left out together: an image
    is classified without its copies. `compared` (`near_copies`) makes fitting again to other labels faster.

    Raises:
        ValueError: there is only one class, or a learned start serves another number of them.
    """
    if support.way < 2:
        raise ValueError("a classifier needs two classes or more")
    support = find_views(support, compared)
    views = support.by_view()
    held_out = leave_out(embedder.base_learner, views.features, views.labels, views.way)
    return classifier_of(embedder, support, held_out)


@torch.no_grad()
def classifier_of(
    embedder: Embedder, support: Support, held_out: HeldOut, open_set: OpenSet | None = None
) -> FittedClassifier:
    """As `fit_classifier`, of a support set with its views, and with answers that are known already."""
    views, means = support.by_view(), support.view_means()
    head = embedder.base_learner.classifier(means[None], views.labels[None], views.way)
    temperature = fit_temperature(held_out, views, embedder.temperatures)
    return FittedClassifier(embedder, support, head, held_out, temperature, open_set)
