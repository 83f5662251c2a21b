"""Whichever sampler draws an episode: no group of images is in its support set and in its queries."""

from typing import get_args

import pytest
import torch
from driven import train
from sampler_options import nested

from mtl.compare.measures import judged_episodes
from mtl.config import HardTasks, read_config
from mtl.episodes.categories import CategoriesSampler, grouped_episodes
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape
from mtl.runtime.seeds import generator
from mtl.samplers import build_sampler

LABELS = torch.arange(240) % 12  # 12 classes of 20 images
GROUPS = torch.arange(240) // 12 // 5 * 12 + LABELS  # of each class, four clips of 5 images
INDEX = ClassIndex.of(LABELS, groups=GROUPS)
SUPERCLASSES = [f"g{c % 2}" for c in range(12)]
SAMPLERS = get_args(HardTasks.__annotations__["sampler"])


def assert_apart(batch):
    support, query = GROUPS[batch.support], GROUPS[batch.query]
    assert not (support[..., :, None] == query[..., None, :]).any()
    assert torch.equal(LABELS[batch.support], batch.classes[..., None].expand_as(batch.support))
    assert all(len(set(row)) == len(row) for row in batch.image_indices().tolist())


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        *((name, {}) for name in SAMPLERS),
        ("boosted_pool", {"unit": "task"}),
        ("boosted_pool", {"fresh": False}),
    ],
)
@pytest.mark.parametrize("domains", [None, torch.arange(12) // 6], ids=["one set", "two sets"])
def test_every_sampler_keeps_groups_apart(name, keys, domains, random_outcome):
    sections = {
        "meta": {"way": 3, "shot": 2, "queries": 6, "steps": 22},
        "hard_tasks": nested(name, **{"every": 4, "pool": 6, "collect": 3, "hard": 4, "fade": 0, **keys}),
    }
    sampler = build_sampler(read_config(sections, "test"), INDEX, SUPERCLASSES, domains)
    for request, batch, *_ in train(sampler, random_outcome):
        assert_apart(batch)
        if isinstance(request, EpisodeBatch):
            assert_apart(request)


def test_the_centre_of_a_class_and_what_is_held_against_it_are_of_different_groups():
    sections = {
        "meta": {"way": 3, "shot": 8, "queries": 5},
        "hard_tasks": nested("boosted", look=20),
    }
    looked_at = build_sampler(read_config(sections, "test"), INDEX).request(0).view(12, -1)
    groups = GROUPS[looked_at]
    assert looked_at.shape[1] == 18  # 8 images fill two clips at least: two are left for queries
    assert not (groups[:, :8, None] == groups[:, None, 8:]).any()


def test_fixed_tasks_keep_groups_apart():
    assert_apart(grouped_episodes(INDEX, SUPERCLASSES, EpisodeShape(3, 2, 6), 40, 0))
    assert_apart(judged_episodes(INDEX, torch.full((66,), 1 / 66), 3, 2, 6, 40, generator(0)))


def test_an_episode_depends_on_its_number_alone_and_a_part_of_the_images_has_its_groups():
    among = torch.arange(0, 240, 1)[GROUPS // 12 != 1]  # without the second clip
    index = ClassIndex.of(LABELS, among, GROUPS)
    stream = CategoriesSampler.of(index, EpisodeShape(4, 3, 5), 7)
    for number in (70, 3, 64):
        _, classes, images = stream.episode(number)
        assert torch.equal(images, CategoriesSampler.of(index, EpisodeShape(4, 3, 5), 7).episode(number)[2])
        assert (GROUPS[images] // 12 != 1).all()
        assert not (GROUPS[images][:, :3, None] == GROUPS[images][:, None, 3:]).any()
        assert (LABELS[images] == classes[:, None]).all()
    assert index.most_queries(1).tolist() == [10] * 12
    assert index.select(torch.tensor([5])).most_queries(6).tolist() == [5]
