"""This project's samplers inside learn2learn's Taskset."""

import sys

import pytest
import torch
from torch.utils.data import TensorDataset

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeShape
from mtl.episodes.tasksets import SampledEpisodes
from mtl.errors import UserError
from mtl.runtime.learn2learn_package import import_learn2learn


@pytest.fixture
def learn2learn():
    try:
        return import_learn2learn("this test")
    except UserError as absent:
        pytest.skip(str(absent))


def _uniform(index):
    return CategoriesSampler.of(index, EpisodeShape(4, 2, 3), 5)


def test_a_taskset_serves_the_episodes_of_the_sampler(learn2learn, index, labels):
    images = torch.arange(240.0)[:, None]  # image i shows the number i
    data = learn2learn.data.MetaDataset(TensorDataset(images, labels(20, 12)))
    transforms = [SampledEpisodes(_uniform(index)), learn2learn.data.transforms.LoadData(data)]
    tasks = learn2learn.data.Taskset(data, task_transforms=transforms, num_tasks=-1)
    plain = _uniform(index)
    for _ in range(3):
        pictures, classes = tasks.sample()
        expected = plain.draw(1)
        both = torch.cat([expected.support, expected.query], -1)[0]
        assert pictures.flatten().tolist() == both.flatten().tolist()
        assert classes.tolist() == expected.classes[0].repeat_interleave(5).tolist()

        parts = learn2learn.data.partition_task(pictures, classes, shots=2)
        for (found, owners), images_of in zip(parts, (expected.support, expected.query), strict=True):
            in_order = expected.classes[
                0
            ].argsort()  # partition_task puts classes in the order of their labels
            assert found.flatten().tolist() == images_of[0][in_order].flatten().tolist()
            assert owners.tolist() == [int(i) % 20 for i in found.flatten()]


def test_without_learn2learn_it_is_one_sentence(index, monkeypatch):
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    with pytest.raises(
        UserError, match="SampledEpisodes needs learn2learn, which is not installed"
    ) as caught:
        SampledEpisodes(_uniform(index))
    assert "\n" not in str(caught.value)
