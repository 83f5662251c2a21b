"""Every line of the table that leads from the articles' names to ours runs, and gives what the page says."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from mtl.episodes import CategoriesSampler

PAGE = (Path(__file__).parents[1] / "docs" / "from-the-articles.md").read_text("utf-8")
ROWS = [
    (name, there, line)
    for name, there, line in re.findall(r"^\| (.+?) \| (.+?) \| `(.+)` \|$", PAGE, re.MULTILINE)
]
NAMES = (
    *("CategoriesSampler", "BatchSchedulerSampler", "BalancedBatchSchedulerSampler"),
    *("ExampleImbalancedDatasetSampler", "ImbalancedDatasetSampler", "samples_to_grab"),
    *("hard_example_miner", "SPLLoss", "increase_threshold", "CBReweight", "plot.gif"),
)
INDEX = torch.tensor([3, 0, 17, 5, 11, 20, 8, 2])


class SplitImages(Dataset):
    def __init__(self, count):
        self.targets = [i % 3 if i % 2 else 0 for i in range(count)]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return torch.full((4,), float(i)), self.targets[i]


@pytest.fixture(scope="module")
def results():
    """What each line gave, by the name in the article."""
    photos, drawings = SplitImages(24), SplitImages(60)
    names = {"photos": photos, "drawings": drawings, "both": ConcatDataset([photos, drawings])}
    names |= {"DataLoader": DataLoader, "Subset": Subset, "model": nn.Linear(4, 3)}
    names |= {"logits": 3 * torch.eye(8, 3), "labels": torch.tensor([0, 1, 2, 0, 0, 1, 2, 0]), "index": INDEX}
    for _, there, _ in ROWS:
        for statement in re.findall(r"`(from .+?)`", there):
            exec(statement, names)
    found = {}
    for name, _, line in ROWS:
        exec(line if line.startswith("loss = ") else f"result = {line}", names)
        found[name.split("`")[1] if "`" in name else name] = names.get("result")
    return {**found, "loss": names["loss"], "names": names}


def test_every_name_of_the_articles_is_on_the_page():
    assert [name for name in NAMES if name not in PAGE] == []
    assert len(ROWS) == 12


def test_loaders_give_batches(results):
    loaders = [value for value in results.values() if isinstance(value, DataLoader)]
    assert len(loaders) == 5
    for loader in loaders:
        images, labels = next(iter(loader))
        episodes = isinstance(loader.batch_sampler, CategoriesSampler)
        assert len(images) == len(labels) == (12 if episodes else 8)


def test_the_value_of_the_article_is_the_mean_over_all_images(results):
    names = results["names"]
    losses = F.cross_entropy(names["logits"], names["labels"], reduction="none")
    v = (losses < 0.1 * 1.3**7).float()
    assert 0 < v.sum() < 8
    assert results["its value, mean(v l)"].item() == pytest.approx((v * losses).mean().item())
    ours = results["loss(logits, labels, index)"]
    assert ours.item() == pytest.approx((v * losses).sum().item() / v.sum().item())


def test_the_weights_are_those_of_the_article(results):
    counts = torch.bincount(torch.tensor(results["names"]["photos"].targets)).double()
    weights = (1 - 0.9999) / (1 - 0.9999**counts)
    expected = weights / weights.sum() * 3
    assert results["CBReweight"].weights.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
