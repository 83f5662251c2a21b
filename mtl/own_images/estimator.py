"""The few-shot classifier as an estimator of scikit-learn.

from mtl import FewShotClassifier

classifier = FewShotClassifier.load("checkpoints/cifar_fs").fit(paths, labels)
classifier.predict_proba(more_paths)
classifier.save("things.fewshot")
"""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mtl.config import Log, Runtime
from mtl.data.class_tree import require_distinct_names, similar_name_messages
from mtl.data.formats import levels_messages, top_of
from mtl.data.near_copies import Prints, SeenBefore
from mtl.data.own_picture import Change, change_messages
from mtl.data.prefetch import deep_values, image_list, prepare_images
from mtl.errors import UserError
from mtl.own_images import classifier_file
from mtl.own_images.class_labels import checked_labels, class_labels, kept_dtype, kind_of, none_label
from mtl.own_images.classifier import Answers, FittedClassifier
from mtl.own_images.embedder import Embedder
from mtl.own_images.fine_tune import fine_tuned, require_trainable
from mtl.own_images.published import embedder_of, fit_with_chosen_head, published
from mtl.own_images.support import Support
from mtl.runtime.outputs import require_free
from mtl.runtime.run_folder import RunFolder

_log = logging.getLogger(__name__)
_DEVICES = ("auto", "cpu", "cuda", "mps")


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learns classes from a few images of each, with a published network or that of a run.

    Images are a sequence of paths or of PIL images, or a uint8 array (n, H, W) or (n, H, W, 3); labels are
    texts, numbers or bools. Anything wrong with them is a ValueError, also a file that cannot be read.

    With `open_set`, `predict` answers "none of these", or -1 where labels are numbers, for an image that is
    more likely of none of the classes than of one. `predict_proba` gives, as without it, how likely each
    class is if it is one of them, and `predict_none_proba` how likely it is none.

    `save` and `load` keep a fitted classifier, not pickle. Methods that need it raise NotFittedError.

    Args:
        run: the folder of a run, or a fitted classifier's file, whose network is then used; None: a published
            network, whose weights are downloaded once.
        open_set: images may be of none of the classes.
        device: "auto" (the best there is), "cpu", "cuda" or "mps".
        backbone: another published network, "torchvision.NAME" or "timm.NAME"; without a run.
        weights: a file of its weights, or a name that the library has for them; None: its default ones.
        fine_tune: the published network's last block is trained too, and kept where left-out images are
            classified better with it; five images of each class are needed, and a minute or more.

    Attributes:
        classes_: (N,) sorted.
        fitted_: the classifier itself.
        views_: (n,) the view of each image that it was fitted to: near copies, such as the frames of a burst,
            are one view. As groups of scikit-learn's GroupKFold they keep copies from testing each other.
    """

    def __init__(
        self,
        run: str | os.PathLike[str] | None = None,
        open_set: bool = False,
        device: str = "auto",
        backbone: str | None = None,
        weights: str | os.PathLike[str] | None = None,
        fine_tune: bool = False,
    ) -> None:
        self.run, self.open_set, self.device = run, open_set, device
        self.backbone, self.weights, self.fine_tune = backbone, weights, fine_tune

    @classmethod
    def load(cls, path: str | os.PathLike[str], open_set: bool = False, device: str = "auto") -> Self:
        """A classifier that `save` or the command `fit` wrote, fitted; or that of a run, to be fitted.

        Raises:
            ValueError: it is neither, or damaged.
        """
        made = cls(run=path, open_set=open_set, device=device)
        with _value_errors():
            place = Path(os.path.expanduser(path))
            if not place.is_file():
                RunFolder(place).read_config()
                return made
            fitted = classifier_file.load(place, made._runtime())
        made.fitted_, made.views_ = fitted, fitted.support.views.numpy()
        made.classes_ = class_labels(fitted.classes, fitted.label_kind, fitted.label_dtype)
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fitted classifier to a file, which the commands read as well; replaces what is there."""
        check_is_fitted(self)
        with _value_errors():
            place = Path(os.path.expanduser(path))
            require_free(place, overwrite=True)
            classifier_file.save(self.fitted_, place)

    def fit(self, X: Any, y: Any) -> Self:
        """Learns from images and the label of each."""
        labels = checked_labels(y)
        images = _images(X)
        check_consistent_length(images, labels)
        classes, places = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"labels are of {len(classes)} class; a classifier needs two classes or more")
        names = [str(label) for label in classes.tolist()]
        with _value_errors():
            require_distinct_names(names, "labels")
            for sentence in similar_name_messages(names):
                _log.warning("%s", sentence)
            embedder = _with_levels(self._embedder(), images)
            embedder.require_way(len(classes))
            if self.fine_tune:
                require_trainable(embedder)
            features, prints, pixels = _embedded(embedder, images, keep=self.fine_tune)
            support = Support.of(features, [names[place] for place in places], _sources(images), prints)
            fitted = fit_with_chosen_head(embedder, support, quiet := Log(quiet=True))
            if pixels is not None:
                tuned = fine_tuned(embedder, support, pixels, fitted, quiet)
                fitted = tuned.classifier if tuned.helps else fitted
            fitted = replace(fitted, label_kind=kind_of(classes), label_dtype=kept_dtype(labels))
        if self.open_set:
            _require_open_set(fitted, classes)
        self.fitted_, self.classes_, self.views_ = fitted, classes, fitted.support.views.numpy()
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,) the most probable class of each image; with `open_set` also that it is none."""
        check_is_fitted(self)
        return self._predicted(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy on images that the classifier was not fitted to; nan if none is left.

        Images that are, to the pixel, among those it was fitted to are left out, with a warning.
        """
        check_is_fitted(self)
        images = _images(X)
        check_consistent_length(images, y, sample_weight)
        with _value_errors():
            _, same = self._embedded(images)
        new = [i for i, known in enumerate(same.tolist()) if not known]
        weights = None if sample_weight is None else np.asarray(sample_weight)[new]
        if len(new) < len(images):
            _warn(len(images) - len(new), len(images), "; they are left out of the score")
        if not new:
            return float("nan")
        answers = self._predicted([images[i] for i in new])
        return float(accuracy_score(np.asarray(y)[new], answers, sample_weight=weights))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, N) calibrated probabilities of `classes_`, if an image is of one of them."""
        check_is_fitted(self)
        return self._ordered(self._answers(X, False))

    def predict_none_proba(self, X: Any) -> NDArray[np.float64]:
        """(n,) the probability that an image is of none of the classes, whatever `open_set` says.

        Raises:
            ValueError: no class has two images to judge this by.
        """
        check_is_fitted(self)
        none = self._answers(X, True).none
        assert none is not None
        return none.numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.three_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def __getstate__(self) -> Any:
        if hasattr(self, "fitted_"):
            raise TypeError("a fitted FewShotClassifier is not pickled or copied; save() and load() keep it")
        return super().__getstate__()

    def _runtime(self) -> Runtime:
        if self.device not in _DEVICES:
            raise ValueError(f"device: {self.device!r} is not allowed; allowed are {', '.join(_DEVICES)}")
        return Runtime(device=self.device, keep_memory=False)  # type: ignore[arg-type]

    def _embedder(self) -> Embedder:
        runtime = self._runtime()
        if self.run is None:
            weights = None if self.weights is None else os.path.expanduser(self.weights)
            return embedder_of(published(self.backbone, weights), runtime)
        if self.backbone is not None or self.weights is not None:
            raise ValueError("backbone and weights: a run has its own network; give one or the other")
        path = Path(os.path.expanduser(self.run))
        return classifier_file.load(path, runtime).embedder if path.is_file() else embedder_of(path, runtime)

    def _answers(self, images: Any, open_set: bool) -> Answers:
        with _value_errors():
            features, same = self._embedded(_images(images))
            if same.any():
                _warn(int(same.sum()), len(same))
            return self.fitted_.answer(features, open_set)

    def _predicted(self, images: Any) -> NDArray[Any]:
        if self.open_set:
            _require_open_set(self.fitted_, self.classes_)
        answers = self._answers(images, self.open_set)
        chosen: NDArray[Any] = self.classes_[self._ordered(answers).argmax(1)]
        if answers.none is None:
            return chosen
        if chosen.dtype.kind == "u":
            chosen = chosen.astype(np.int64)  # which has room for -1
        return np.where(answers.none.numpy() > 0.5, none_label(self.fitted_.label_kind), chosen)

    def _embedded(self, images: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Features (n, D), and (n,) bool: which images the classifier was fitted to."""
        features, prints, _ = _embedded(_with_levels(self.fitted_.embedder, images), images)
        return features, SeenBefore(self.fitted_.support.prints)(prints)[0]

    def _ordered(self, answers: Answers) -> NDArray[np.float64]:
        """Probabilities in the order of `classes_`; a fitted classifier sorts its classes by name."""
        place = {name: i for i, name in enumerate(self.fitted_.classes)}
        columns = [place[str(label)] for label in self.classes_.tolist()]
        ordered: NDArray[np.float64] = answers.probabilities.numpy()[:, columns]
        return ordered


def _images(X: Any) -> Sequence[Any]:
    images = image_list(X)
    if not len(images):
        raise ValueError("there are no images: 0 sample(s), and at least 1 is needed")
    return images


def _with_levels(embedder: Embedder, images: Sequence[Any]) -> Embedder:
    """Takes grey values of more than 8 bits as the classifier does, or as these images need it."""
    if embedder.preparation.levels is not None:
        return embedder
    deep = deep_values(images)
    top = top_of(deep)
    for sentence in levels_messages(top, len(deep)):
        _log.warning("%s", sentence)
    return embedder.with_levels(top)


def _embedded(
    embedder: Embedder, images: Sequence[Any], keep: bool = False
) -> tuple[Tensor, Prints, Tensor | None]:
    """Features (n, D), what the images are recognised by, and with `keep` what the network is given."""
    preparation = embedder.preparation
    size, grayscale, ink, top = preparation.size, preparation.grayscale, preparation.ink, preparation.top
    changes: list[Change] = []
    features, prints, kept = [], [], list[Tensor]()
    for batch in prepare_images(
        images, size, grayscale, min(embedder.images_at_once, 256), ink, top, changes
    ):
        features.append(embedder(batch))
        prints.append(Prints.of(batch))
        kept += [batch] if keep else []
    for sentence in change_messages(changes, ink, top):
        _log.warning("%s", sentence)
    return torch.cat(features), Prints.joined(prints), torch.cat(kept) if keep else None


def _warn(same: int, count: int, then: str = "") -> None:
    text = f"{same:,} of the {count:,} images are support images and say nothing about new ones{then}"
    warnings.warn(text, UserWarning, stacklevel=4)


def _sources(images: Sequence[Any]) -> list[str]:
    return [os.fspath(x) if isinstance(x, str | os.PathLike) else f"image {i}" for i, x in enumerate(images)]


def _require_open_set(fitted: FittedClassifier, classes: NDArray[Any]) -> None:
    """
    Raises:
        ValueError: unlike images cannot be recognised, or there is no label for them.
    """
    if fitted.open_set is None:
        raise ValueError(
            "open_set: needs a class with two images, near copies aside, to judge by how similar they are"
        )
    answer = none_label(fitted.label_kind)
    if fitted.label_kind == "bool" or answer in classes.tolist():
        raise ValueError(
            f"open_set: labels must be texts or numbers, none of them {answer!r}, the answer itself"
        )
    if classes.dtype.kind == "u" and int(classes.max()) > np.iinfo(np.int64).max:
        raise ValueError("open_set: labels beyond the range of int64 leave no room for -1, the answer itself")


@contextmanager
def _value_errors() -> Iterator[None]:
    """A UserError becomes a ValueError, as scikit-learn expects."""
    try:
        yield
    except UserError as error:
        raise ValueError(str(error)) from None
