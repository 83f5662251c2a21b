"""Episodes: what they are, and who draws them."""

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, Outcome, TaskSampler

__all__ = ["CategoriesSampler", "EpisodeBatch", "EpisodeShape", "Outcome", "TaskSampler"]
