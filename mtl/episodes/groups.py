"""Fixed tasks whose classes all come from one group, such as characters of one alphabet."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.episodes.apart import draw_distinct
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape
from mtl.runtime.seeds import generator


def large_groups(groups: Sequence[str], way: int) -> list[Tensor]:
    """The classes of each group that has at least N, groups by name."""
    members = [
        torch.tensor([c for c, group in enumerate(groups) if group == name]) for name in sorted(set(groups))
    ]
    return [m for m in members if len(m) >= way]


def grouped_episodes(
    index: ClassIndex, groups: Sequence[str], shape: EpisodeShape, tasks: int, seed: int
) -> EpisodeBatch:
    """`tasks` episodes, a pure function of the arguments.

    Each has a group, every one with at least N classes equally likely, and N of its classes: one-shot
    classification within an alphabet of Lake et al. (Science 2015), with random characters and drawings.

    Raises:
        ValueError: no group is large enough.
    """
    members = large_groups(groups, shape.way)
    if not members:
        raise ValueError(f"no group has {shape.way} classes")
    random = generator(seed, "grouped")
    group = torch.randint(len(members), (tasks,), generator=random)
    table = torch.nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=-1)
    sizes = torch.tensor([len(m) for m in members])
    classes = table[group[:, None], draw_distinct(sizes[group], shape.way, random)]
    images = index.draw_episode(classes.flatten(), shape.shot, shape.queries, random)
    return EpisodeBatch.of(classes, images.view(tasks, shape.way, -1), shape.shot, "within group")
