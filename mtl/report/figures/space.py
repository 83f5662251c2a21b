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
_MOST = 12  # classes that can be distinguished
_SHAPES = ("o", "^", "s", "v", "D", "P")
_GAP, _NAME = 0.2, 2.2  # inches: between the panels, and of a name at most


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
        n_jobs=1,
        method="exact",
    )
    places: Floats = tsne.fit_transform(unit).astype(np.float64)
    return places


def feature_space(found: FeatureSpace) -> Figure:
    """Points by class, each class in another colour and shape, and the names below.

    Raises:
        ValueError: more classes than can be distinguished.
    """
    names, labels, after = found.names, found.labels, found.after
    if not 1 <= len(names) <= _MOST:
        raise ValueError(f"{len(names)} classes cannot be distinguished; 1 to {_MOST} can")
    layouts = {"": found.before} if after is None else {"before": found.before, "after": after}
    side = (WIDTH - 0.2 - _GAP) / 2 if after is not None else 4.2  # inches
    entries = [(style.fitted(name, _NAME), _look(i)) for i, name in enumerate(names)]
    column = 0.6 + max(style.width_of(name) for name, _ in entries)
    columns = max(1, int((WIDTH - 0.1) / column))
    below = 0.2 + 0.22 * math.ceil(len(entries) / columns)
    figure = style.new_figure(WIDTH, below + side + 0.4)
    for row, first in enumerate(range(0, len(entries), columns)):
        style.key(figure, 0.1, below - 0.2 - 0.22 * row, entries[first : first + columns], column)
    for i, (title, layout) in enumerate(layouts.items()):
        axes = style.panel(figure, 0.1 + i * (side + _GAP), below, side, side, title)
        for number in range(len(names)):
            style.dots(
                axes,
                layout[labels == number],
                **{**_look(number), "markersize": _size(len(labels)), "alpha": 0.8},
            )
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set(visible=True, color=FAINT)
        axes.set_aspect("equal", adjustable="datalim")
    return figure


def _look(number: int) -> dict[str, Any]:
    """Colour and shape of a class: no two of 12 have both in common."""
    colours = len(PALETTE)
    shape = _SHAPES[(number + number // colours * 3) % len(_SHAPES)]
    return {
        "color": PALETTE[number % colours],
        "marker": shape,
        "linestyle": "",
        "markersize": 6,
        "markeredgewidth": 0,
    }


def _size(count: int) -> float:
    """Points, of one of `count` marks."""
    return min(6.0, max(2.5, 90 / math.sqrt(count + 1)))
