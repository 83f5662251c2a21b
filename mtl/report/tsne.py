"""Where the images of a few novel classes lie in feature space, before and after meta-training.

t-SNE (van der Maaten and Hinton, 2008) by scikit-learn: neighbours in the picture are neighbours in the
features, and distances between far groups mean nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.config import Config
from mtl.data import ImageSet
from mtl.learners.learner import Learner
from mtl.report.run_files import RunFiles
from mtl.runtime.devices import Device
from mtl.training.restore import learner_from_pretrained, meta_trained_learner
from mtl.training.run_data import RunData
from mtl.training.solve import features_of

CLASSES, IMAGES = 10, 20  # shown, and of each of them
_PERPLEXITY = 12.0


@dataclass(frozen=True)
class FeatureSpace:
    """Places (n, 2) of the same images, their classes (n,), and the names of those."""

    before: NDArray[np.float64]
    after: NDArray[np.float64] | None  # None where nothing is meta-trained
    labels: NDArray[np.int64]
    names: tuple[str, ...]


def feature_space(
    run: RunFiles, config: Config, run_data: RunData, device: Device, split: str, wanted: Sequence[str]
) -> FeatureSpace | None:
    """Features of a split's classes as the base learner gets them, laid out in the plane.

    Args:
        run: its stages that have ended; nothing is drawn where it has not been pretrained.
        config: of the run.
        run_data: its images.
        device: where the networks run.
        split: whose classes are shown.
        wanted: names of classes, the most interesting first; others fill up to `CLASSES`.
    """
    if "pretrain" not in run.ended:
        return None
    images = run_data.split(split)
    classes = _chosen(images, wanted)
    rows = torch.cat([(images.labels == c).nonzero().flatten()[:IMAGES] for c in classes])
    pretrained, train = run.ended["pretrain"], run_data.splits.train
    start = learner_from_pretrained(pretrained, config, train, device)
    before = _embed(start, run_data, device, split, rows)
    after = None
    if "meta-train" in run.ended:
        learner = meta_trained_learner(run.ended["meta-train"], pretrained, config, train, device)
        after = _embed(learner, run_data, device, split, rows)
    places = plane(before, None, config.seed)
    labels = np.searchsorted(classes, images.labels[rows].numpy())
    return FeatureSpace(
        places,
        None if after is None else plane(after, places, config.seed),
        labels,
        tuple(images.class_names[c] for c in classes),
    )


def plane(features: Tensor, start: NDArray[np.float64] | None, seed: int) -> NDArray[np.float64]:
    """(n, 2) places of features (n, D) by t-SNE on their cosines, from `start` where it is given.

    Points that start where they stood before can be followed from one picture to the next.
    """
    from sklearn.manifold import TSNE

    unit = torch.nn.functional.normalize(features.double(), dim=-1).numpy()
    begin = "pca" if start is None else 1e-2 * start / start.std()
    tsne = TSNE(
        n_components=2,
        perplexity=min(_PERPLEXITY, (len(unit) - 1) / 3),
        init=begin,
        random_state=seed,
        n_jobs=1,
        method="exact",
    )
    found: NDArray[np.float64] = tsne.fit_transform(unit).astype(np.float64)
    return found


def _chosen(images: ImageSet, wanted: Sequence[str]) -> list[int]:
    """Class ids, ascending: those wanted, then others in their order."""
    place = {name: c for c, name in enumerate(images.class_names)}
    order = [place[name] for name in wanted if name in place] + list(range(images.num_classes))
    return sorted(list(dict.fromkeys(order))[:CLASSES])


def _embed(learner: Learner, run_data: RunData, device: Device, split: str, rows: Tensor) -> Tensor:
    learner.eval()
    return features_of(learner, run_data.split_images(split, device), rows).float().cpu()
