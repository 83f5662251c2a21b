"""A run with a library's network: its images, its checkpoint, and what is refused before it starts."""

import json
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.models import get_model

from mtl.data.augment import Normalise
from mtl.errors import UserError
from mtl.evaluation.cross_domain import scored_sets
from mtl.evaluation.evaluate import evaluate
from mtl.models.backbones import build_backbone
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


@pytest.fixture(autouse=True)
def unreachable(monkeypatch, tmp_path):
    """torch.hub has nothing kept, and no network."""

    def fail(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """As published, but random."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v3_small.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(get_model("mobilenet_v3_small").state_dict(), path)
    return path


@pytest.fixture
def mobile(tiny):
    """Makes configs of tiny runs with torchvision's mobilenet."""

    def make(weights, data=None, name="torchvision.mobilenet_v3_small", **sections):
        keys = {"name": name, "weights": None if weights is None else str(weights), "channels": None}
        return tiny(backbone=keys, data={"image_size": 32, **(data or {})}, **sections)

    return make


def test_from_published_weights_to_scores_without_pretraining(mobile, weights, tmp_path):
    config = mobile(
        weights,
        pretrain={"epochs": 0},
        meta={"steps": 2, "validate_every": 2, "validate_tasks": 4},
        evaluate={"tasks": 4, "resample": {"rounds": 0}},
    )
    here = tmp_path / "here.pth"
    here.write_bytes(weights.read_bytes())
    config = replace(config, backbone=replace(config.backbone, weights=str(here)))
    folder = RunFolder.of(config)
    pretrain(config)
    here.unlink()  # from here on all is in the checkpoint
    payload = checkpoints.read(folder.pretrain)
    assert payload["images"] == {"size": 32, "channels": 1, "ink": None, "levels": None}
    assert payload["normalise"] == {"mean": list(MEAN), "std": list(STD)}
    published = torch.load(weights, weights_only=True)
    kept = {k.removeprefix("network."): v for k, v in payload["backbone"].items()}
    assert published.keys() - kept.keys() == {"classifier.3.weight", "classifier.3.bias"}
    assert all(torch.equal(v, published[k]) for k, v in kept.items())

    bare = build_backbone(config.backbone, 1, 32, generator(0))
    bare.load_state_dict(payload["backbone"])

    meta_train(config)
    meta = checkpoints.read(folder.meta)
    assert any(k.endswith("parametrizations.weight.0.factor") for k in meta["learner"])
    (first, *_) = evaluate(config)
    names = [score.name for score in first.scores]
    assert names[0] == "meta-trained (mtl)"
    assert "pretrained, cosine prototypes" in names
    assert "untrained, cosine prototypes" in names


def test_pretraining_starts_from_the_weights_and_a_resumed_one_does_not_read_them_again(
    mobile, weights, saved, monkeypatch
):
    config = mobile(weights, pretrain={"epochs": 1, "lr": 1e-9}, runtime={"checkpoint_seconds": 0})
    pretrain(config)
    found = checkpoints.read(RunFolder.of(config).pretrain)["backbone"]["network.features.0.0.weight"]
    published = torch.load(weights, weights_only=True)["features.0.0.weight"]
    torch.testing.assert_close(found, published, rtol=0, atol=1e-5)
    folder = RunFolder.of(config)
    folder.pretrain.unlink()
    checkpoints.write(folder.last, {**saved[-1], "token": ""})
    monkeypatch.setattr("mtl.training.pretrain.load_weights", lambda *_: pytest.fail("read again"))
    pretrain(config, resume=True)
    again = checkpoints.read(folder.pretrain)["backbone"]["network.features.0.0.weight"]
    assert torch.equal(again, found)


@pytest.mark.parametrize("grayscale", [True, False])
def test_images_are_of_the_size_and_the_normalisation_of_the_weights(mobile, grayscale):
    config = mobile("DEFAULT", {"image_size": None, "grayscale": grayscale})
    run_data, device = load_run_data(config), choose_device(config.runtime)
    train = run_data.splits.train
    assert (train.size, train.channels) == (224, 1 if grayscale else 3)
    assert run_data.normalise == Normalise(MEAN, STD)
    found = run_data.split_images("train", device)(torch.tensor([[0, 5]]))
    assert found.shape == (1, 2, 3, 224, 224)
    pixels = train.images[[0, 5]].double().expand(-1, 3, -1, -1) / 255
    expected = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-5, atol=1e-5)


def test_a_size_of_the_config_counts_and_without_weights_all_is_as_ever(mobile, tiny):
    assert load_run_data(mobile("DEFAULT", {"image_size": 20})).splits.train.size == 20
    plain, bare = load_run_data(tiny(data={"image_size": 32})), load_run_data(mobile(None))
    assert bare.normalise == plain.normalise
    assert len(bare.normalise.mean) == 1
    device = choose_device(mobile(None).runtime)
    assert bare.split_images("val", device).images.shape[1] == 1


def test_other_image_sets_are_brought_to_the_same(mobile, monkeypatch):
    config = mobile("DEFAULT", evaluate={"sets": ["glyphs"]})
    run_data = load_run_data(config)
    renamed = replace(run_data.splits.test, class_names=tuple("abcdef"))
    others, asked = replace(run_data.splits, test=renamed), []
    monkeypatch.setattr(
        "mtl.evaluation.cross_domain.load_alike", lambda like, *_: asked.append(like) or others
    )
    ((_, other),) = scored_sets(config, run_data)
    assert [(like.image_size, like.grayscale) for like in asked] == [(32, True)]
    pictures = other.split_images("test", choose_device(config.runtime))
    assert pictures(torch.arange(2)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"name": "torchvision.mobilenet_v9"}, "torchvision has no classification network mobilenet_v9"),
        ({"weights": "V9"}, "backbone.weights: V9, but torchvision.mobilenet_v3_small takes IMAGENET1K_V1"),
        ({"name": "torchvision.vit_b_32"}, "data.image_size: images of 32 pixels do not go through"),
        (
            {"name": "torchvision.vit_b_32", "data": {"image_size": None}},  # the set's own
            "data.image_size: images of 84 pixels do not go through torchvision.vit_b_32; those of 224 do",
        ),
        ({"weights": "gone.pth"}, "backbone.weights: gone.pth: there is no such file"),
        ({"weights": "DEFAULT"}, "put mobilenet_v3_small-047dcff4.pth ("),
    ],
)
def test_what_cannot_be_had_is_told_before_anything_is_written(mobile, keys, sentence):
    config = mobile(**{"weights": None, **keys}, pretrain={"epochs": 0})
    with pytest.raises(UserError) as caught:
        pretrain(config)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path(config.checkpoints).exists()


def test_metrics_of_such_a_start_are_those_of_validation_alone(mobile, weights):
    config = mobile(weights, pretrain={"epochs": 0})
    pretrain(config)
    (line,) = RunFolder.of(config).metrics.read_text().splitlines()
    assert json.loads(line).keys() == {
        "stage",
        "step",
        "epoch",
        "seconds",
        "val_5way_1shot",
        "val_5way_5shot",
    }
