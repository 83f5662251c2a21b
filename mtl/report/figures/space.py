"""Images of a few novel classes in feature space, before and after meta-training.

t-SNE (van der Maaten and Hinton, 2008) by scikit-learn: neighbours in the picture are neighbours in the
features, and distances between far groups mean nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from mtl.learners.learner import Learner
from mtl.report.figures import style
from mtl.report.figures.style import FAINT, PALETTE, WIDTH
from mtl.report.run_files import RunFiles
from mtl.runtime.devices import Device
from mtl.training.restore import learner_from_pretrained, meta_trained_learner
from mtl.training.run_data import RunData
from mtl.training.solve import features_of

Floats = NDArray[np.float64]

CLASSES, _IMAGES = 10, 20  # shown, and of each of them
_PERPLEXITY = 12.0
_ITERATIONS = 500  # twice as many lower the divergence by less than a hundredth
_MOST = 12  # classes that can be distinguished
_SHAPES = ("o", "^", "s", "v", "D", "P")
_NAME = 2.2  # inches of a name at most


@dataclass(frozen=True)
class FeatureSpace:
    """Places (n, 2) of the same images, their classes (n,), and the names of those."""

    before: Floats
    after: Floats | None  # None where nothing is meta-trained
    labels: NDArray[np.int64]
    names: tuple[str, ...]


def project_features(
    run: RunFiles, run_data: RunData, device: Device, split: str, wanted: Sequence[str]
) -> FeatureSpace | None:
    """Features of a split's classes as the base learner gets them, projected onto the plane.

    Args:
        run: its stages that have ended; None is returned where it has not been pretrained.
        run_data: its images.
        device: where the networks run.
        split: whose classes are shown.
        wanted: names of classes, the most interesting first; others fill up to `CLASSES`.
    """
    if "pretrain" not in run.ended:
        return None
    config, images, train = run.config, run_data.split(split), run_data.splits.train
    number = {name: c for c, name in enumerate(images.class_names)}
    order = [number[name] for name in wanted if name in number] + list(range(images.num_classes))
    classes = sorted(list(dict.fromkeys(order))[:CLASSES])
    rows = torch.cat([(images.labels == c).nonzero().flatten()[:_IMAGES] for c in classes])

    def features(learner: Learner) -> Tensor:
        learner.eval()
        return features_of(learner, run_data.split_images(split, device), rows).float().cpu()

    pretrained = run.ended["pretrain"]
    before = plane(features(learner_from_pretrained(pretrained, config, train, device)), None, config.seed)
    after = None
    if "meta-train" in run.ended:
        learner = meta_trained_learner(run.ended["meta-train"], pretrained, config, train, device)
        after = plane(features(learner), before, config.seed)
    labels = np.searchsorted(classes, images.labels[rows].numpy())
    return FeatureSpace(before, after, labels, tuple(images.class_names[c] for c in classes))


def plane(features: Tensor, start: Floats | None, seed: int) -> Floats:
    """(n, 2) places of features (n, D) by t-SNE on their cosines.

    From `start` where it is given, so that points can be followed from one picture to the next.
    """
    from sklearn.manifold import TSNE

    unit = torch.nn.functional.normalize(features.double(), dim=-1).numpy()
    tsne = TSNE(
        n_components=2,
        perplexity=min(_PERPLEXITY, (len(unit) - 1) / 3),
        init="pca" if start is None else 1e-2 * start / start.std(),
        random_state=seed,
        max_iter=_ITERATIONS,
        n_jobs=1,
        method="exact",
    )
    places: Floats = tsne.fit_transform(unit).astype(np.float64)
    return places


@style.in_look
def feature_space(found: FeatureSpace) -> Figure:
    """Points by class, each class in another colour and shape, and the names below.

    Raises:
        ValueError: more classes than can be distinguished.
    """
    names, labels = [style.fitted(name, _NAME) for name in found.names], found.labels
    if not 1 <= len(names) <= _MOST:
        raise ValueError(f"{len(names)} classes cannot be distinguished; 1 to {_MOST} can")
    layouts = (
        [("", found.before)] if found.after is None else [("before", found.before), ("after", found.after)]
    )
    columns = int(WIDTH / (0.55 + max(map(style.width_of, names))))
    figure = style.new_figure(3.4 + 0.23 * math.ceil(len(names) / columns))
    size = min(6.0, max(2.5, 90 / math.sqrt(len(labels) + 1)))  # points
    for axes, (title, places) in zip(
        figure.subplots(1, len(layouts), squeeze=False)[0], layouts, strict=True
    ):
        for number in range(len(names)):
            points = places[labels == number]
            rasterized = len(points) > style.SHAPES
            axes.plot(*points.T, **{**_look(number), "markersize": size}, alpha=0.8, rasterized=rasterized)
        axes.set(title=title, xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=FAINT)
        axes.set_aspect("equal", adjustable="datalim")
    marks = [Line2D([], [], **_look(number)) for number in range(len(names))]
    figure.legend(marks, names, loc="outside lower left", ncols=columns)
    return figure


def _look(number: int) -> dict[str, Any]:
    """Colour and shape of a class: no two of 12 have both in common."""
    shape = _SHAPES[(number + number // len(PALETTE) * 3) % len(_SHAPES)]
    return {"color": PALETTE[number % len(PALETTE)], "marker": shape, "linestyle": "", "markersize": 6}
