"""Pretraining: weighted images, none at all, and a library's network with published weights."""

import copy
import json
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import get_model

from mtl.cli import main
from mtl.compare.runs import pretraining_cell
from mtl.config import Backbone, Pretrain, Runtime
from mtl.data.augment import Normalise
from mtl.data.image_set import fingerprint
from mtl.errors import UserError
from mtl.evaluation.evaluate import evaluate, scored_sets
from mtl.losses import CrossEntropy
from mtl.models.backbones import build_backbone
from mtl.models.classifiers import CosineClassifier, angle_classifier, build_classifier
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import PretrainState, pretrain, pretrain_step
from mtl.training.pretrain_batches import Batch
from mtl.training.pretrain_objective import Objective, Teacher
from mtl.training.restore import fresh_backbone
from mtl.training.run_data import load_run_data

WAYS = {
    "sampling": {"balance": {"by": "sampling", "start": 0.5}},
    "weights": {"balance": {"by": "weights", "weighting": "inverse", "start": 0.5}},
    "logits": {"balance": {"by": "logits"}},
    "influence": {"examples": {"by": "influence", "start": 0.5}},
    "hardest": {"examples": {"by": "hardest", "scope": "memory", "part": 0.6, "cap": 0.1}},
    "self_paced": {"examples": {"by": "self_paced", "part": 0.4, "growth": 0.2}},
    "rotation": {"rotation": {"share": 0.5}},
}
UNEVEN = {"imbalance": {"type": "exponential", "factor": 2}, "label_noise": 0.1}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_makes_another_network_than_plain_training(tiny, same, way):
    backbones = []
    for run, how in (("plain", {}), ("other", WAYS[way])):
        config = tiny(run=run, pretrain={"epochs": 4, "batch_size": 24, **how}, data=UNEVEN)
        pretrain(config)
        backbones.append(checkpoints.read(RunFolder.of(config).pretrain)["backbone"])
    assert not same(*backbones)


def test_one_head_for_each_set_leaves_the_classes_of_others_alone():
    device = choose_device(Runtime(device="cpu"))
    network = nn.ModuleDict({"backbone": nn.Flatten(), "classifier": _Linear(4, 5)})
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    before = network["classifier"].weight.detach().clone()
    images, labels = torch.randn(6, 1, 2, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    domains = torch.tensor([0, 0, 1, 1, 1])
    logits = network["classifier"](images.flatten(1))[:, :2]
    expected = float(F.cross_entropy(logits, labels).detach())
    batch = Batch(torch.arange(6), images, labels)
    loss, _ = pretrain_step(network, device, optimizer, Objective(CrossEntropy(), domains), batch)
    assert loss == pytest.approx(expected, rel=1e-5)
    moved = (network["classifier"].weight - before).abs().sum(1) > 0
    assert moved.tolist() == [True, True, False, False, False]


def test_training_accuracy_is_that_of_answers_without_the_margin():
    device, classifier = choose_device(Runtime(device="cpu")), CosineClassifier(2, 2, scale=10, margin=0.5)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    network = nn.ModuleDict({"backbone": nn.Flatten(), "classifier": classifier})
    images = torch.tensor([[1.0, 0.9], [0.9, 1.0], [1.0, 0.8], [0.5, 0.6]]).view(4, 1, 1, 2)
    batch = Batch(torch.arange(4), images, torch.tensor([0, 1, 0, 0]))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    assert pretrain_step(network, device, optimizer, Objective(CrossEntropy()), batch)[1] == 0.75


@pytest.mark.parametrize("rotation", [0.0, 0.5])
def test_networks_beside_each_other_learn_as_if_each_were_alone(rotation):
    device, backbone = choose_device(Runtime(device="cpu")), Backbone(channels=(3, 4, 5, 6), networks=2)
    cfg, drawn = Pretrain(classifier="cosine"), torch.Generator().manual_seed(0)
    both = nn.ModuleDict(
        {
            "backbone": build_backbone(backbone, 1, 16, drawn),
            "classifier": build_classifier(cfg, 12, 3, drawn, 2),
            "angles": angle_classifier(12, drawn, 2),
        }
    )
    alone = [
        nn.ModuleDict(
            {"backbone": both["backbone"].networks[i], **{k: both[k][i] for k in ("classifier", "angles")}}
        )
        for i in (0, 1)
    ]
    batch = Batch(
        torch.arange(8),
        torch.randn(8, 1, 16, 16, generator=drawn),
        torch.arange(8) % 3,
        torch.arange(8) % 4 if rotation else None,
    )
    objective, found = Objective(CrossEntropy(), rotation_weight=rotation), []
    networks = [*(copy.deepcopy(one) for one in alone), both]
    for network in networks:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        for _ in range(2):
            loss, _ = pretrain_step(network, device, optimizer, objective, batch)
        found.append(loss)
    assert found[2] == pytest.approx(found[0] + found[1], rel=1e-5)
    for together, single in zip(alone, networks, strict=False):  # `alone` are the parts of `both`
        for key, value in single.state_dict().items():
            torch.testing.assert_close(together.state_dict()[key], value, msg=key)


class _Linear(nn.Linear):
    def forward(self, features, labels=None):
        return super().forward(features)


NONE = {"epochs": 0, "validate_tasks": 5}


def _lines(config, stage):
    lines = [json.loads(line) for line in RunFolder.of(config).metrics.read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage]


@pytest.mark.parametrize("more", [{}, {"examples": {"by": "self_paced"}}, {"balance": {"by": "sampling"}}])
def test_the_checkpoint_is_the_backbone_as_it_is(tiny, more, capsys):
    config = tiny(pretrain={**NONE, **more})
    pretrain(config)
    folder = RunFolder.of(config)
    payload, run_data = checkpoints.read(folder.pretrain), load_run_data(config)
    fresh = fresh_backbone(config, run_data.splits.train).state_dict()
    assert payload["backbone"].keys() == fresh.keys()
    assert all(torch.equal(payload["backbone"][k], v) for k, v in fresh.items())
    assert "classifier" not in payload
    assert payload["step"] == 0
    assert payload["images"] == {"size": 16, "channels": 1, "ink": None, "levels": None}
    (line,) = _lines(config, "pretrain")
    assert (line["step"], line["epoch"]) == (0, 0)
    assert {k: line[k] for k in line if k.startswith("val_")} == payload["scores"]
    assert payload["mean"] == pytest.approx(sum(payload["scores"].values()) / 2)
    assert "pretrain: the backbone as it is: val 5-way 1-shot" in capsys.readouterr().err
    assert not folder.last.exists()
    assert not folder.curriculum.exists()


def test_a_start_that_was_cut_off_writes_its_line_once(tiny, saved):
    config = tiny(pretrain=NONE)
    pretrain(config)
    folder = RunFolder.of(config)
    first = checkpoints.read(folder.pretrain)
    folder.pretrain.unlink()
    checkpoints.write(folder.last, {**saved[-1], "token": ""})
    pretrain(config, resume=True)
    assert len(_lines(config, "pretrain")) == 1
    assert checkpoints.read(folder.pretrain)["scores"] == first["scores"]


@pytest.mark.parametrize("algorithm", ["mtl", "maml"])
def test_meta_training_from_scratch(tiny, algorithm):
    if algorithm == "maml":
        pytest.importorskip("learn2learn")
    meta = {"algorithm": algorithm, "train": "all", "steps": 2, "inner_steps": 1}
    config = tiny(pretrain=NONE, meta=meta, evaluate={"settings": [[3, 1]], "tasks": 4})
    pretrain(config)
    meta_train(config)
    assert checkpoints.read(RunFolder.of(config).meta)["step"] in {0, 2}
    (setting,) = evaluate(config)
    assert setting.scores[0].name == f"meta-trained ({algorithm})"


def test_base_classes_are_not_scored_without_a_classifier(tiny):
    config = tiny(data={"probe_fraction": 0.5}, pretrain=NONE, evaluate={"tasks": 4})
    pretrain(config)
    evaluate(config)
    assert json.loads(RunFolder.of(config).results.read_text()).get("base_classes") is None
    cell = pretraining_cell(config, "none", load_run_data(config), choose_device(config.runtime))
    assert cell.seconds_per_step is None
    assert cell.images == 0
    assert not any(name.startswith("base classes") for name in cell.answers)
    assert [step for step, _ in cell.curve] == [0]


def test_the_report_of_such_a_run_is_written(tiny):
    config = tiny(pretrain=NONE, meta={"steps": 2}, evaluate={"settings": [[3, 1]], "tasks": 4})
    pretrain(config)
    assert main(["report", str(RunFolder.of(config).path)]) == 0
    assert RunFolder.of(config).report.exists()


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


@pytest.fixture
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
def mobile(tiny, unreachable):
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
        "mtl.evaluation.evaluate.load_matching", lambda like, *_, **__: asked.append(like) or others
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


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn_from_it():
    classifier = CosineClassifier(2, 2, scale=10, margin=0.5)
    network = nn.ModuleDict({"classifier": classifier})
    features, labels = torch.tensor([[1.0, 0.2], [0.3, 1.0]]), torch.tensor([0, 1])
    taught = classifier(features).detach()
    teacher = Teacher(network, "", weight=1.0, temperature=4.0)
    loss, _ = Objective(CrossEntropy(), teacher=teacher)(
        network, features, Batch(labels, features, labels), taught
    )
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)  # though the labels' loss has a margin


def test_a_student_learns_its_teachers_answers(tiny, same):
    teacher = tiny(run="teacher", pretrain={"epochs": 4, "batch_size": 24})
    pretrain(teacher)
    folder = RunFolder.of(teacher)
    taught = {"teacher": str(folder.path), "weight": 0.9}
    backbones = []
    for run, how in (("alone", {}), ("student", {"distillation": taught})):
        config = tiny(run=run, seed=1, pretrain={"epochs": 4, "batch_size": 24, **how})
        pretrain(config)
        backbones.append(checkpoints.read(RunFolder.of(config).pretrain)["backbone"])
    assert not same(*backbones)

    # Another teacher in the same place is no way to go on.
    student = RunFolder.of(config)
    payload = checkpoints.read(folder.pretrain)
    checkpoints.write(folder.pretrain, {**payload, "seconds": 0.0})
    state = {"teacher": "another"}
    with pytest.raises(UserError, match="teacher has changed"):
        PretrainState(config, load_run_data(config), choose_device(config.runtime)).load_or_begin(
            student, {**checkpoints.read(student.pretrain), "fingerprint": _fingerprint(config), **state}
        )


def _fingerprint(config):
    return fingerprint(load_run_data(config).splits.train)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda payload: payload.pop("classifier"), "has no classifier"),
        (lambda payload: payload["images"].update(size=99), "size 99"),
        (lambda payload: payload["classes"].append("another"), "classes"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_before_anything_is_written(tiny, tmp_path, change, said):
    teacher = tiny(run="teacher", pretrain={"epochs": 1, "batch_size": 24})
    pretrain(teacher)
    payload = checkpoints.read(RunFolder.of(teacher).pretrain)
    change(payload)
    checkpoints.write(tmp_path / "teacher.pt", payload)
    config = tiny(run="student", pretrain={"distillation": {"teacher": str(tmp_path / "teacher.pt")}})
    with pytest.raises(UserError, match=said):
        pretrain(config)
    assert not RunFolder.of(config).config.exists()
