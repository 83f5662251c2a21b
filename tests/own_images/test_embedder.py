"""From images to features: as the learner has them, with nothing of training left in the network."""

import math
import shutil
from dataclasses import replace

import pytest
import torch
from made_classifiers import SIDE, embedder, images, learner
from torch import nn
from torch.nn.utils import parametrize

from mtl.config import Head, Runtime, load_config, read_config, to_dict
from mtl.data.augment import Normalise
from mtl.data.variants import PLAIN, Variants
from mtl.episodes.episode import EpisodeShape
from mtl.errors import UserError
from mtl.models.heads import power_transform
from mtl.own_images import classifier_file as file
from mtl.own_images.classifier import fit_classifier
from mtl.own_images.embedder import Embedder, Origin, Preparation, embedder_of_run
from mtl.own_images.support import Support
from mtl.runtime import checkpoints, devices
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import Draws, generator
from mtl.training.restore import learner_from_pretrained, meta_trained_learner
from mtl.training.run_data import load_run_data
from mtl.training.solve import features_of, solve_episodes

PREPARED = Preparation(SIDE, 1, (0.4,), (0.25,))
HEADS = {
    "plain": Head(),
    "levels": Head(levels=3),
    "map": Head(map="linear"),
    "power": Head(power=0.5),
    "all": Head(levels=2, map="linear", power=0.5, normalise=False),
}


def by_the_learner(made, pixels, variants=PLAIN):
    """The features that meta-test has, from the pieces that evaluation uses."""
    made.eval()
    normalised = Normalise(PREPARED.mean, PREPARED.std)(pixels)
    with torch.no_grad():
        return made.features(normalised, variants)


@pytest.mark.parametrize("name", ["conv4", "resnet12"])
@pytest.mark.parametrize("train", ["ss", "ss_affine", "all", "head"])
@pytest.mark.parametrize("variants", [PLAIN, Variants(True), Variants(True, 1.5)], ids=str)
def test_features_are_those_of_the_learner(name, train, variants):
    made, pixels = learner(name, train=train), images(5)
    before = by_the_learner(made, pixels, variants)
    prepared = replace(PREPARED, variants=variants)
    found = Embedder.of(made, prepared, Origin("run", None, Head(), 3))(pixels)
    torch.testing.assert_close(found, before, rtol=1e-4, atol=1e-4)
    other = by_the_learner(learner(name, train=train), pixels, replace(variants, mirror=not variants.mirror))
    assert not torch.allclose(found, other, rtol=1e-2)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_features_are_embedded_as_the_base_learner_does(head):
    made, pixels = learner(head=head), images(4)
    before = by_the_learner(made, pixels)
    backbone = made.device.forward(made.backbone, Normalise(PREPARED.mean, PREPARED.std)(pixels)).detach()
    found = Embedder.of(made, PREPARED, Origin("run", None, head, 3))(pixels)
    torch.testing.assert_close(found, before, rtol=1e-4, atol=1e-4)
    assert found.shape == (4, sum(made.base_learner.sizes))
    if head == HEADS["power"]:  # one of them by hand
        bent = power_transform(backbone, 0.5)
        wanted = bent / bent.norm(dim=1, keepdim=True) * made.base_learner.log_scale.exp()
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_nothing_of_training_is_left_in_the_network():
    made = embedder("resnet12", train="ss_affine")
    assert not any(parametrize.is_parametrized(module) for module in made.learner.modules())
    assert not any(parameter.requires_grad for parameter in made.learner.parameters())
    assert all(conv.bias is not None for conv in made.learner.modules() if isinstance(conv, nn.Conv2d))
    made.learner.train(noise=Draws(torch.Generator()))
    first = made(images(4))
    assert torch.equal(made(images(4)[:2]), first[:2])  # not by the statistics of the images at hand
    assert not first.requires_grad


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_how_many_images_pass_together_makes_no_difference(at_once, monkeypatch):
    made, pixels = embedder(variants=Variants(mirror=True)), images(7)
    together = made(pixels)
    monkeypatch.setattr(devices, "_PIXELS", at_once * SIDE**2)
    assert made.images_at_once == at_once
    passed = []
    made.learner.backbone.register_forward_hook(lambda _, inputs, __: passed.append(len(inputs[0])))
    torch.testing.assert_close(made(pixels), together, rtol=1e-5, atol=1e-6)
    assert max(passed) == at_once
    assert sum(passed) == 2 * 7  # the mirror images too


def test_no_images_have_no_features():
    assert embedder()(images(0)).shape == (0, 6)


@pytest.mark.parametrize(
    "wrong",
    [images(2).float(), images(2, channels=3), images(2, size=32), images(1)[0]],
    ids=["floats", "colour", "large", "one"],
)
def test_other_images_are_refused(wrong):
    with pytest.raises(ValueError, match=r"uint8 of shape \(B, 1, 16, 16\)"):
        embedder()(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size"),
        ({"channels": 2, "mean": (0.5, 0.5), "std": (0.1, 0.1)}, "1 or 3 channels"),
        ({"mean": (0.5, 0.5)}, "each channel"),
        ({"channels": 3}, "each channel"),
        ({"std": (0.0,)}, "positive"),
        ({"std": (math.nan,)}, "finite"),
        ({"mean": (math.inf,)}, "finite"),
        ({"variants": Variants(zoom=0.5)}, "zoom"),
        ({"variants": Variants(zoom=math.nan)}, "zoom"),
    ],
)
def test_a_preparation_whose_parts_do_not_fit_is_refused(change, message):
    parts = {"size": 16, "channels": 1, "mean": (0.5,), "std": (0.2,)}
    with pytest.raises(ValueError, match=message):
        Preparation(**{**parts, **change})


def test_grey_images_go_to_networks_that_know_colours():
    prepared = Preparation(SIDE, 1, (0.1, 0.2, 0.3), (0.5, 0.4, 0.3))
    made, pixels = learner(channels=3), images(3)
    found = Embedder.of(made, prepared, Origin("run", None, Head(), 3))(pixels)
    colour = Preparation(SIDE, 3, prepared.mean, prepared.std)
    wanted = Embedder.of(made, colour, Origin("run", None, Head(), 3))(pixels.expand(-1, 3, -1, -1))
    assert torch.equal(found, wanted)


RUNTIME = Runtime(device="cpu", threads=1, keep_memory=False)


@pytest.fixture
def moved(whole_run, tmp_path):
    """The run in another place, and its images gone."""
    folder = RunFolder(tmp_path / "elsewhere" / "renamed")
    shutil.copytree(whole_run.path, folder.path)
    rewrite(folder, data={"root": str(tmp_path / "gone")}, checkpoints=str(tmp_path / "nowhere"))
    return folder


def rewrite(folder, **sections):
    """The config of a run with sections laid over it."""
    tree = to_dict(folder.read_config())
    for name, section in sections.items():
        tree[name] = {**tree[name], **section} if isinstance(section, dict) else section
    folder.write_config(read_config(tree, "test"))


def without_images(folder):
    """As an older version wrote the checkpoint."""
    payload = checkpoints.read(folder.pretrain)
    checkpoints.write(folder.pretrain, {key: value for key, value in payload.items() if key != "images"})


def trained_for_longer(folder):
    """Meta-training of the tiny run changes next to nothing; here it has changed much."""
    payload = checkpoints.read(folder.meta)
    for value in payload["learner"].values():
        if value.is_floating_point() and value.ndim in {0, 1, 4}:
            value.add_(0.1 * torch.rand(value.shape, generator=generator(0, "longer")))
    checkpoints.write(folder.meta, payload)


def evaluated(folder, meta=True):
    """The learner that evaluation has of a run, with the pictures that it asks, and its run_data."""
    config = folder.read_config()
    run_data, device = load_run_data(config), choose_device(RUNTIME)
    pretrained, train = checkpoints.read(folder.pretrain), run_data.splits.train
    if meta:
        learner = meta_trained_learner(checkpoints.read(folder.meta), pretrained, config, train, device)
    else:
        learner = learner_from_pretrained(pretrained, config, train, device)
    return learner, run_data.split_images("test", device), run_data


@pytest.mark.parametrize("meta", [True, False], ids=["meta-trained", "pretrained"])
def test_features_are_those_of_evaluation(whole_run, tmp_path, meta):
    shutil.copytree(whole_run.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    trained_for_longer(folder)
    if not meta:
        folder.meta.unlink()
    learner, pictures, _ = evaluated(folder, meta)
    learner.eval()
    wanted = features_of(learner, pictures, torch.arange(20))
    found = embedder_of_run(folder.path, RUNTIME)(pictures.images[:20])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_meta_trained_network_is_another_than_the_pretrained_one(moved):
    trained_for_longer(moved)
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    meta = embedder_of_run(moved.path, RUNTIME)(images)
    moved.meta.unlink()
    assert not torch.allclose(embedder_of_run(moved.path, RUNTIME)(images), meta, rtol=1e-2)


def test_answers_are_those_of_evaluation_on_the_same_episodes(whole_run):
    learner, pictures, run_data = evaluated(whole_run)
    way, shot, queries = 3, 2, 4
    episodes = run_data.fixed_episodes("test", EpisodeShape(way, shot, queries), 12, 0, "evaluate")
    outcome = solve_episodes(learner, pictures, episodes)
    embedder = embedder_of_run(whole_run.path, RUNTIME)
    table, right, predicted, confidence = embedder(pictures.images), [], [], []
    labels = [f"{i}" for i in range(way) for _ in range(shot)]
    for rows in episodes.image_indices():
        held = Support.of(table[rows[: way * shot]], labels, labels)
        plain = replace(fit_classifier(embedder, held), temperature=1.0)
        probability, chosen = plain.answer(table[rows[way * shot :]]).probabilities.max(-1)
        right.append((chosen == torch.arange(way).repeat_interleave(queries)).double().mean())
        predicted.append(chosen)
        confidence.append(probability.float())
    assert torch.equal(torch.stack(predicted), outcome.predicted.flatten(1).long())
    torch.testing.assert_close(torch.stack(confidence), outcome.confidence.flatten(1), rtol=0, atol=1e-5)
    assert torch.stack(right).tolist() == pytest.approx(outcome.accuracy.tolist(), abs=1e-6)
    assert 0.34 < torch.stack(right).mean() < 1


def test_neither_images_nor_the_place_of_a_run_matter(moved, whole_run):
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    found, wanted = embedder_of_run(moved.path, RUNTIME), embedder_of_run(whole_run.path, RUNTIME)
    assert torch.equal(found(images), wanted(images))
    assert found.preparation == wanted.preparation
    assert (found.preparation.size, found.preparation.channels) == (16, 1)


def test_a_classifier_needs_neither_images_nor_the_run(moved, tmp_path):
    embedder = embedder_of_run(moved.path, RUNTIME)
    images = torch.randint(0, 256, (6, 1, 16, 16), dtype=torch.uint8)
    before = fit_classifier(embedder, Support.of(embedder(images), list("aabbcc"), list("123456")))
    file.save(before, tmp_path / "a.fewshot")
    shutil.rmtree(moved.path)
    after = file.load(tmp_path / "a.fewshot", RUNTIME)
    answers = after.answer(after.embedder(images)).probabilities
    assert torch.equal(answers, before.answer(embedder(images)).probabilities)


def test_an_old_checkpoint_is_refused(moved):
    without_images(moved)
    with pytest.raises(UserError, match=r"pretrain\.pt: comes from an earlier version; train the run again"):
        embedder_of_run(moved.path, RUNTIME)


def test_variants_count_as_in_evaluation(moved):
    assert embedder_of_run(moved.path, RUNTIME).preparation.variants == PLAIN
    rewrite(moved, evaluate={"mirror": True, "zoom": 1.3})
    assert embedder_of_run(moved.path, RUNTIME).preparation.variants == Variants(True, 1.3)


def test_the_precision_is_the_run_s_and_the_device_is_not(moved):
    rewrite(moved, runtime={"precision": "bfloat16", "device": "mps"})
    assert embedder_of_run(moved.path, RUNTIME).device.precision == torch.bfloat16
    here = choose_device(Runtime(keep_memory=False)).torch_device
    assert embedder_of_run(moved.path).device.torch_device == here


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ({"algorithm": "anil"}, "meta.algorithm = anil"),
        ({"algorithm": "maml"}, "meta.algorithm = maml"),
        ({"batch_norm": "episode"}, "meta.batch_norm = episode"),
    ],
)
def test_learners_that_are_asked_in_episodes_are_refused(moved, section, value):
    tree = to_dict(load_config(moved.config))
    tree["evaluate"]["settings"] = [[3, 1]]
    tree["meta"].update(section)
    moved.write_config(read_config(tree, "test"))
    with pytest.raises(UserError, match=f"was trained with {value}, whose answers depend on whole episodes"):
        embedder_of_run(moved.path, RUNTIME)


def test_what_is_no_run_or_not_pretrained_is_refused(moved, tmp_path):
    with pytest.raises(UserError, match=r"is not a folder of a run, .* config\.yaml; .* holds: renamed"):
        embedder_of_run(moved.path.parent / "renamd", RUNTIME)
    moved.pretrain.unlink()
    with pytest.raises(UserError, match=r"pretrain\.pt: there is no such checkpoint; run_meta\.py pretrain"):
        embedder_of_run(moved.path, RUNTIME)


@pytest.mark.parametrize("name", ["pretrain", "meta"])
def test_damaged_checkpoints_are_refused(moved, name):
    path = getattr(moved, name)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=rf"{name}\.pt: is damaged"):
        embedder_of_run(moved.path, RUNTIME)


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"backbone": {"channels": [4, 4, 8, 4]}}, r"pretrain\.pt: was made with backbone\.channels"),
        ({"meta": {"head": {"power": 0.5}}}, r"meta\.pt: was made with meta\.head\.power = 1\.0"),
    ],
)
def test_a_config_that_is_not_the_checkpoints_is_refused(moved, section, named):
    rewrite(moved, **section)
    with pytest.raises(UserError, match=named):
        embedder_of_run(moved.path, RUNTIME)


def test_temperatures_are_those_of_the_same_network(moved):
    moved.calibration.unlink(missing_ok=True)
    assert embedder_of_run(moved.path, RUNTIME).temperatures == ()
    moved.calibration.write_text('{"temperatures": {"1": 1.5, "5": 2}, "network": "meta-trained"}')
    assert embedder_of_run(moved.path, RUNTIME).temperatures == ((1, 1.5), (5, 2.0))
    moved.meta.unlink()  # begun again: those of the old network say nothing
    assert embedder_of_run(moved.path, RUNTIME).temperatures == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"temperatures": {"1": 1.5}}',
        '{"temperatures": [1], "network": "meta-trained"}',
        '{"temperatures": {"one": 1}, "network": "meta-trained"}',
        '{"temperatures": {"1": null}, "network": "meta-trained"}',
        '{"temperatures": {"0": 1}, "network": "meta-trained"}',
        '{"temperatures": {"1": 0}, "network": "meta-trained"}',
        '{"temperatures": {"1": NaN}, "network": "meta-trained"}',
        '{"temperatures": {"1": Infinity}, "network": "meta-trained"}',
    ],
)
def test_damaged_temperatures_are_refused(moved, text):
    moved.calibration.write_text(text)
    with pytest.raises(UserError, match=r"calibration\.json: .+\(.+\); run evaluate again"):
        embedder_of_run(moved.path, RUNTIME)
