"""Meta-test: solving many episodes without training anything."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mtl.data.augment import Normalise
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.learners.types import Learner

# Features gathered for a chunk of episodes: 16 MB stay in a processor's cache, a GPU wants larger pieces.
_FLOATS_ON_CPU, _FLOATS_ELSEWHERE = 4_000_000, 64_000_000

Head = Callable[[Tensor, int, int], Tensor]


@dataclass(frozen=True)
class SplitImages:
    """The images of one split, and how they are brought to the backbone."""

    images: Tensor  # (M, C, H, W) uint8
    normalise: Normalise
    at_once: int  # how many may pass the backbone together
    table: Tensor | None = None  # (M, D) features of the images, where the backbone will not change

    def __call__(self, indices: Tensor) -> Tensor:
        """(..., C, H, W) float32, normalised."""
        return self.normalise(self.images[indices.flatten()]).view(*indices.shape, *self.images.shape[1:])


@torch.no_grad()
def extract(features: Callable[[Tensor], Tensor], pictures: SplitImages, indices: Tensor) -> Tensor:
    """Features (n, D) of the images (n,), on the device that computes them."""
    return torch.cat([features(pictures(part)) for part in torch.split(indices, pictures.at_once)])


def with_table(learner: Learner, pictures: SplitImages, tables: dict[str, Tensor], key: str) -> SplitImages:
    """The pictures with their features by a fixed backbone, which `tables` has or is given."""
    if key not in tables:
        learner.set_mode(training=False)
        everything = torch.arange(len(pictures.images))
        tables[key] = extract(learner.backbone_features, pictures, everything)
    return replace(pictures, table=tables[key])


@torch.no_grad()
def features_of(learner: Learner, pictures: SplitImages, indices: Tensor, mirror: bool = False) -> Tensor:
    """Features (n, D) of the images (n,), as the learner's base learner gets them."""
    if pictures.table is not None:
        return learner.transform_features(pictures.table[indices])
    return extract(lambda x: learner.features(x, mirror), pictures, indices)


@torch.no_grad()
def solve_episodes(learner: Learner, pictures: SplitImages, episodes: EpisodeBatch) -> Outcome:
    """The outcome of every episode: each image passes the backbone once where the learner allows it."""
    learner.set_mode(training=False)
    if learner.features_cacheable:
        wanted, place = torch.unique(episodes.image_indices(), return_inverse=True)
        return solve_table(learner.solve_features, features_of(learner, pictures, wanted), place, episodes)
    count, parts = max(1, pictures.at_once // episodes.image_indices().shape[1]), []
    for first in range(0, len(episodes), count):
        part = episodes[first : first + count]
        logits = learner.solve(pictures(part.image_indices()), part.way, part.shot)
        parts.append(Outcome.of(logits, part.way, part.queries))
    return Outcome.concatenate(parts)


def measure(learner: Learner, pictures: SplitImages, request: EpisodeBatch | Tensor) -> Outcome | Tensor:
    """What a sampler requests: how episodes go, or the features (n, D) of the images (n,)."""
    if isinstance(request, EpisodeBatch):
        return solve_episodes(learner, pictures, request)
    learner.set_mode(training=False)
    return features_of(learner, pictures, request)


@torch.no_grad()
def solve_table(head: Head, table: Tensor, place: Tensor, episodes: EpisodeBatch) -> Outcome:
    """Outcomes from cached features (n, D); `place` (T, N·(K+Q)) says which row is which image."""
    parts = [
        Outcome.of(head(table[rows], episodes.way, episodes.shot), episodes.way, episodes.queries)
        for rows in chunks(place, table)
    ]
    return Outcome.concatenate(parts)


def chunks(place: Tensor, table: Tensor) -> tuple[Tensor, ...]:
    """The rows of episodes (T, images) in pieces whose features are gathered together."""
    floats = _FLOATS_ON_CPU if table.device.type == "cpu" else _FLOATS_ELSEWHERE
    return torch.split(place.to(table.device), max(1, floats // (place.shape[1] * table.shape[1])))
