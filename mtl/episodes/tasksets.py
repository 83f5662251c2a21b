"""This project's samplers for users of learn2learn's Taskset.

tasks = Taskset(MetaDataset(images), [SampledEpisodes(sampler), LoadData(images)], num_tasks=1000)
"""

from typing import Any

from mtl.episodes.episode import TaskSampler
from mtl.runtime.learn2learn_package import import_learn2learn


class SampledEpisodes:
    """A task transform to be the first in a Taskset: each call describes the sampler's next episode.

    Images come class by class, the support images of each first, as `partition_task` expects them. A sampler
    that learns gets the outcomes of its tasks by its `update`.

    Args:
        sampler: CategoriesSampler or one of `mtl.samplers`, over the data set that the Taskset loads from.

    Raises:
        UserError: learn2learn is not installed.
    """

    def __init__(self, sampler: TaskSampler) -> None:
        self.sampler = sampler
        self.describe = import_learn2learn("SampledEpisodes").data.DataDescription

    def __call__(self, description: Any = None) -> list[Any]:
        """The description of one task; that of earlier transforms is not used."""
        batch = self.sampler.draw(1)
        images = [
            index
            for support, query in zip(batch.support[0], batch.query[0], strict=True)
            for index in (*support.tolist(), *query.tolist())
        ]
        return [self.describe(index) for index in images]
