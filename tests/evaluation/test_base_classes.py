"""Accuracy on held-out images of the base classes, against a loop over single images."""

import dataclasses
import json

import pytest
import torch

from mtl.config import Runtime
from mtl.evaluation.base_classes import (
    base_accuracy,
    base_answers,
    held_out_right,
    size_groups,
    within_domain,
)
from mtl.evaluation.evaluate import evaluate
from mtl.evaluation.task_answers import Cell, load, save
from mtl.models.classifiers import build_classifier
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.runtime.world import World
from mtl.training.pretrain import pretrain
from mtl.training.restore import fresh_backbone, pretrained_network
from mtl.training.run_data import load_run_data

UNEVEN = {"probe_fraction": 0.5, "imbalance": {"type": "exponential", "factor": 6}}


@pytest.fixture
def device():
    return choose_device(Runtime(device="cpu"))


@pytest.fixture
def made(tiny):
    """RunData of a config, and an untrained network whose classifier knows one image of each class."""

    def make(classifier="linear", **data):
        config = tiny(data=data, pretrain={"classifier": classifier, "margin": 0.2}, meta={"queries": 2})
        run_data = load_run_data(config)
        train = run_data.splits.train
        backbone = fresh_backbone(config, train)
        head = build_classifier(config.pretrain, backbone.out_features, train.num_classes, generator(1))
        rows = torch.stack([(train.labels == c).nonzero().flatten()[0] for c in range(train.num_classes)])
        with torch.no_grad():
            head.weight.copy_(backbone.eval()(run_data.normalise(train.images[rows])))
            if classifier == "linear":
                head.bias.copy_(-head.weight.square().sum(1) / 2)  # the nearest of them
        payload = {
            "stage": "pretrain",
            "classes": list(train.class_names),
            "backbone": backbone.state_dict(),
            "classifier": head.state_dict(),
        }
        return run_data, pretrained_network(payload, config, run_data.splits.train)

    return make


def in_domains(run_data, domains):
    train = dataclasses.replace(run_data.splits.train, domains=domains)
    return dataclasses.replace(run_data, splits=dataclasses.replace(run_data.splits, train=train))


def one_by_one(network, run_data):
    """[(class, whether rightly answered)] of the held-out images, each passed alone."""
    train, found = run_data.splits.train, []
    domains = train.domains or ("",) * train.num_classes
    network.eval()
    for row in run_data.held_out.tolist():
        image = run_data.normalise(train.images[row : row + 1])
        own = int(train.labels[row])
        with torch.no_grad():
            (logits,) = network["classifier"](network["backbone"](image)).tolist()
        rivals = [c for c in range(train.num_classes) if domains[c] == domains[own]]
        found.append((own, max(rivals, key=logits.__getitem__) == own))
    return found


def mean_recall(answers, classes):
    recalls = []
    for c in classes:
        own = [right for label, right in answers if label == c]
        if own:
            recalls.append(sum(own) / len(own))
    return sum(recalls) / len(recalls)


@pytest.mark.parametrize("domains", [None, ("a", "b") * 6, ("a",) * 3 + ("b",) * 9])
@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_recalls_are_those_of_a_loop(made, device, classifier, domains):
    run_data, network = made(classifier, **UNEVEN)
    run_data = in_domains(run_data, domains)
    answers = one_by_one(network, run_data)
    assert 0 < sum(right for _, right in answers) < len(answers)
    assert held_out_right(network, run_data, device).tolist() == [right for _, right in answers]
    found = base_accuracy(network, run_data, device)
    assert found.balanced == pytest.approx(mean_recall(answers, range(12)))
    assert found.images == len(answers) == 72
    counts = torch.bincount(run_data.splits.train.labels[run_data.pretrain_images], minlength=12).tolist()
    order = sorted(range(12), key=lambda c: (-counts[c], c))
    for name, classes in zip(("many", "medium", "few"), (order[:4], order[4:8], order[8:]), strict=True):
        assert found.groups[name] == pytest.approx(mean_recall(answers, classes))


def test_every_class_counts_alike_whatever_it_has_of_images(made, device):
    """Overall accuracy is another number where classes have unequal numbers of held-out images."""
    run_data, network = made(probe_fraction=0.5)
    labels = run_data.splits.train.labels
    rows = run_data.held_out
    fewer = torch.cat([rows[labels[rows] == c][: 1 + 5 * (c < 3)] for c in range(12)])
    uneven = dataclasses.replace(run_data, held_out=fewer.sort().values)
    answers = one_by_one(network, uneven)
    found = base_accuracy(network, uneven, device)
    assert found.balanced == pytest.approx(mean_recall(answers, range(12)))
    assert found.balanced != pytest.approx(sum(right for _, right in answers) / len(answers))
    assert found.groups == {}


class _Part(World):
    """One of several processes, which gets nothing from the others."""

    def whole(self, own, count, block=1):
        rows = own.new_zeros(count, *own.shape[1:])
        rows[self.share(count, block)] = own
        return rows


def test_neither_batches_nor_processes_that_share_the_images_make_a_difference(made, device, monkeypatch):
    run_data, network = made(**UNEVEN)
    whole = held_out_right(network, run_data, device)
    monkeypatch.setattr(type(device), "images_at_once", lambda self, size: 28)
    assert torch.equal(held_out_right(network, run_data, device), whole)
    devices = [dataclasses.replace(device, world=_Part(rank, 2)) for rank in range(2)]
    parts = [held_out_right(network, run_data, of_one).int() for of_one in devices]
    assert torch.equal(parts[0] + parts[1], whole.int())


def test_classes_without_held_out_images_are_left_out(made, device):
    run_data, network = made(**UNEVEN)
    labels, few = run_data.splits.train.labels, size_groups(run_data)["few"]
    left = run_data.held_out[~torch.isin(labels[run_data.held_out], few[:3])]
    without_three = dataclasses.replace(run_data, held_out=left)
    answers = one_by_one(network, without_three)
    found = base_accuracy(network, without_three, device)
    assert found.balanced == pytest.approx(mean_recall(answers, set(range(12)) - set(few[:3].tolist())))
    assert found.groups["few"] == pytest.approx(mean_recall(answers, [int(few[3])]))
    none = run_data.held_out[~torch.isin(labels[run_data.held_out], few)]
    without_all = dataclasses.replace(run_data, held_out=none)
    assert list(base_accuracy(network, without_all, device).groups) == ["many", "medium"]  # else nan
    names = {"base classes", "base classes, many images", "base classes, medium images"}
    assert set(base_answers(network, without_all, device)) == names


def test_answers_of_a_comparison_are_those_of_single_images(made, device, tmp_path):
    run_data, network = made(**UNEVEN)
    labels = run_data.splits.train.labels
    rows = run_data.held_out
    uneven = dataclasses.replace(
        run_data, held_out=torch.cat([rows[labels[rows] == c][: 6 - c % 3] for c in range(12)])
    )
    uneven = dataclasses.replace(uneven, held_out=uneven.held_out.sort().values)
    singles = one_by_one(network, uneven)
    of_class = {c: [right for label, right in singles if label == c] for c in range(12)}
    found = base_answers(network, uneven, device)
    groups = size_groups(uneven)
    wanted = {"base classes": range(12)}
    wanted |= {f"base classes, {name} images": sorted(of.tolist()) for name, of in groups.items()}
    assert set(found) == set(wanted)
    for name, classes in wanted.items():
        answers = found[name]
        assert answers.classes.tolist() == [list(classes)] * 4  # the smallest class has four
        assert answers.recall.tolist() == [[float(of_class[c][t]) for c in classes] for t in range(4)]
        assert (answers.queries, len(answers.judged)) == (1, 0)
    save(tmp_path / "cell.pt", Cell("arm", 0, found, [], None, 1.0, 1))
    again = load(tmp_path / "cell.pt").answers
    assert all(torch.equal(again[name].recall, found[name].recall) for name in found)


def test_groups_are_by_the_images_that_pretraining_sees(made):
    uneven, _ = made(**UNEVEN)
    counts = torch.bincount(uneven.splits.train.labels[uneven.pretrain_images], minlength=12)
    groups = size_groups(uneven)
    assert [len(of) for of in groups.values()] == [4, 4, 4]
    assert counts[groups["many"]].min() >= counts[groups["medium"]].max() > counts[groups["few"]].max()
    assert int(counts.max()) == 6 * int(counts.min())
    alike, _ = made(probe_fraction=0.5)
    assert size_groups(alike) == {}


def test_nothing_held_out_is_refused(made, device):
    run_data, network = made()
    with pytest.raises(ValueError, match="no images are held out"):
        base_accuracy(network, run_data, device)


def test_classes_of_other_sets_do_not_compete():
    logits = torch.tensor([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0]])
    found = within_domain(logits, torch.tensor([0, 1]), torch.tensor([0, 1, 0]))
    low = -torch.inf
    assert found.tolist() == [[1.0, low, 2.0], [low, 5.0, low]]
    assert torch.equal(within_domain(logits, torch.tensor([0, 1]), torch.zeros(3).long()), logits)


def test_evaluation_tells_it_beside_the_novel_classes(tiny, device):
    how = {"settings": [[3, 1]], "tasks": 5, "baseline": False, "resample": {"rounds": 0}}
    config = tiny(data=UNEVEN, meta={"queries": 2}, evaluate=how)
    pretrain(config)
    evaluate(config)
    folder = RunFolder.of(config)
    told = json.loads(folder.results.read_text(), parse_constant=pytest.fail)["base"]  # no NaN
    run_data = load_run_data(config)
    payload = torch.load(folder.pretrain, weights_only=True)
    network = pretrained_network(payload, config, run_data.splits.train)
    answers = one_by_one(network, run_data)
    assert told["balanced"] == pytest.approx(mean_recall(answers, range(12)))
    assert told["images"] == 72
    assert list(told["groups"]) == ["many", "medium", "few"]
    named = str(base_accuracy(network, run_data, device))
    assert named.startswith(f"72 held-out images: {100 * told['balanced']:.1f} balanced, many ")
