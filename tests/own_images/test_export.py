"""The forms that other programs run: they answer as the classifier, and say what they want."""

import importlib.util
import json
from dataclasses import replace

import pytest
import torch
from made_classifiers import HEADS, SIDE, TINY, embedder, fitted, images

from mtl.config import Backbone, Head, Meta, Runtime
from mtl.data.variants import PLAIN, Moves, Variants
from mtl.errors import RunStopped, UserError
from mtl.learners import MetaTransfer
from mtl.models.backbones import FromLibrary, build_backbone
from mtl.own_images import classifier_file as file
from mtl.own_images import export as stage
from mtl.own_images.classifier import fit_classifier
from mtl.own_images.embedder import Embedder, Origin, Preparation
from mtl.own_images.export import (
    FittedNetwork,
    about,
    export,
    largest_difference,
    packed,
    trial_images,
    unpacked,
)
from mtl.own_images.support import Support
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator


def transformer() -> FromLibrary:
    """A vision transformer, as torchvision builds it, of two small layers."""
    from torchvision.models import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VisionTransformer(16, 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8)
    network.heads = torch.nn.Identity()
    return FromLibrary(network, 8, ())


def case(name):
    if name == "conv4":
        return embedder(variants=MIRRORED, head=Head(levels=2, map="linear", power=0.5, name="prototype"))
    if name == "learners":
        return embedder(learners=2)
    if name == "moved":
        return embedder(variants=Variants(True, 1.3, Moves(5, 4, 0.1, 0.05, 1)))
    if name == "resnet12":
        return embedder("resnet12", channels=3)
    return embedder("torchvision.vit", network=transformer(), channels=3)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("conv4", "torch_export"),
        *((name, "onnx") for name in ("conv4", "learners", "moved", "resnet12", "transformer")),
    ],
)
def test_answers_are_those_of_the_classifier(name, form):
    whole = fitted(case(name))
    pixels = images(11, whole.embedder.preparation.channels, seed=1)
    logits = whole.head(whole.embedder(pixels)[None])
    whole = replace(whole, temperature=float(logits.std()))  # neither sure nor at a loss
    told = about(whole)
    answer, read = unpacked(packed(FittedNetwork(whole), form, told), form)
    assert read == json.loads(json.dumps(told))
    assert largest_difference(answer, whole, pixels) < 1e-4  # by 1, 2, 3, 4 and 1 at once
    warmer = replace(whole, temperature=1.1 * whole.temperature)
    assert largest_difference(answer, warmer, pixels) > 2e-3


def test_what_goes_in_and_comes_out_is_said():
    whole = fitted(embedder(channels=3), classes=("a\udcff", "b", "ж"))
    told = about(whole)
    assert told["images"]["shape"] == ["batch", 3, 16, 16]
    assert told["images"]["dtype"] == "uint8"
    assert told["images"]["channels"] == "red, green, blue"
    assert "middle square" in told["images"]["prepare"][-1]
    assert "16 x 16 pixels, with a Lanczos filter" in told["images"]["prepare"][-1]
    assert told["probabilities"]["shape"] == ["batch", 3]
    assert told["classes"] == ["a\udcff", "b", "ж"]
    assert json.dumps(told).isascii()
    assert about(fitted(embedder()))["images"]["channels"] == "grey"


def test_trial_images_are_plain_ones_noise_and_those_between():
    prepared = embedder(channels=3).preparation
    found = trial_images(prepared, 10)
    assert (found.shape, found.dtype) == ((10, 3, 16, 16), torch.uint8)
    assert torch.equal(found, trial_images(prepared, 10))
    colours = [len(set(image[0].flatten().tolist())) for image in found]
    assert (colours[0], colours[1]) == (1, 4)
    assert min(colours[4:8]) > 100


def test_the_largest_difference_is_found_wherever_it_is():
    whole, pixels = fitted(embedder()), images(12)
    network = FittedNetwork(whole)
    asked = []

    def wrong_for_one(part):
        asked.append(len(part))
        answers = network(part)
        same = (part == pixels[7]).flatten(1).all(1)
        answers[same, 0] += 0.03
        return answers

    assert largest_difference(network, whole, pixels) < 1e-6
    assert largest_difference(wrong_for_one, whole, pixels) == pytest.approx(0.03, abs=1e-6)
    assert asked == [1, 2, 3, 4, 2]


MIRRORED = Variants(mirror=True)
CASES = {
    **{name: {"head": head} for name, head in HEADS.items()},
    "levels, map, power": {"head": Head(levels=2, map="linear", power=0.5, normalise=False)},
    "mirror, colour": {"variants": MIRRORED, "channels": 3},
    "mirror, zoom": {"variants": Variants(True, 1.3)},
    "moves": {"variants": Variants(moves=Moves(5, 4, 0.1, 0.05, 1))},
    "learners": {"learners": 3, "head": Head(levels=2, map="linear", name="prototype")},
    "learners that share a backbone": {"learners": 2, "train": "head", "variants": MIRRORED},
    "several networks": {
        "network": build_backbone(Backbone(channels=TINY, networks=2), 1, SIDE, generator(0)),
        "head": Head(levels=2, name="prototype"),
    },
    "resnet12": {"name": "resnet12", "variants": MIRRORED},
    "resnet12, all": {"name": "resnet12", "train": "all", "head": HEADS["cosine prototypes"]},
}


@pytest.mark.parametrize("how", CASES.values(), ids=CASES.keys())
def test_probabilities_are_those_of_the_classifier(how):
    whole = fitted(embedder(**how))
    pixels = images(6, whole.embedder.preparation.channels, seed=1)
    wanted = whole.answer(whole.embedder(pixels)).probabilities
    network = FittedNetwork(whole)
    found = network(pixels)
    assert (found.shape, found.dtype, found.requires_grad) == ((6, 3), torch.float32, False)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2e-6)
    # a classifier that is sure of everything would pass with any temperature, and any pixels
    assert wanted.amax(1).min() < 0.9
    assert not torch.allclose(found, network(pixels.flip(-1)), atol=1e-4) or how.get("variants", PLAIN).mirror
    assert torch.equal(network(pixels[2:3]).argmax(1), found[2:3].argmax(1))


def test_it_is_computed_in_full_precision_whatever_the_run_did():
    low = fitted(embedder(precision="bfloat16"))
    pixels = images(6, seed=1)
    whole = FittedNetwork(low)(pixels)
    rounded = low.answer(low.embedder(pixels)).probabilities.float()
    assert 1e-5 < (whole - rounded).abs().max() < 0.1


@pytest.fixture(params=["float32", "bfloat16"])
def classifier(request, tmp_path):
    """A fitted classifier's file, in the two precisions that runs have."""
    config, head = Backbone(channels=(4, 4, 4, 4)), Head()
    random = generator(0, "export")
    runtime = Runtime(device="cpu", threads=1, keep_memory=False, precision=request.param)
    learner = MetaTransfer(build_backbone(config, 1, 16, random), Meta(head=head), choose_device(runtime))
    prepared = Preparation(16, 1, (0.5,), (0.25,))
    made = Embedder.of(learner, prepared, Origin("run", config, head, 5))
    pixels = torch.randint(0, 256, (6, 1, 16, 16), dtype=torch.uint8, generator=random)
    path = tmp_path / "trees.v2.fewshot"
    file.save(fit_classifier(made, Support.of(made(pixels), list("aabbcc"), list("123456"))), path)
    return path


@pytest.fixture
def forms(monkeypatch):
    """Forms that are made at once: the network is held here, and its content is its name. (test_export.py
    has what torch makes of it.)"""
    held = {}

    def packed(network, form, about):
        held["network"], held["about"] = network, about
        return f"as {form}".encode()

    monkeypatch.setattr(stage, "packed", packed)
    monkeypatch.setattr(stage, "unpacked", lambda content, form: (held["network"], held["about"]))
    return held


@pytest.mark.parametrize(("form", "ending"), [("onnx", ".onnx"), ("torch_export", ".pt2")])
def test_a_file_is_written_beside_the_classifier(classifier, forms, form, ending, capsys):
    path = export(classifier, form)
    assert path == classifier.with_name("trees.v2" + ending)
    assert path.read_bytes() == f"as {form}".encode()
    assert isinstance(forms["network"], FittedNetwork)
    assert forms["about"]["classes"] == ["a", "b", "c"]
    told = " ".join(capsys.readouterr().out.split())
    assert f"Export: {path}; on 36 random images its probabilities differ by up to" in told
    saved = file.load(classifier, Runtime(device="cpu")).embedder.device.precision
    assert ("and from those of predict, in bfloat16, by up to" in told) == (saved == torch.bfloat16)
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([classifier.name, path.name])


def test_it_is_written_where_one_likes(classifier, forms, tmp_path):
    assert export(classifier, "onnx", tmp_path / "a file") == tmp_path / "a file"
    with pytest.raises(UserError, match="is there already; --overwrite replaces it"):
        export(classifier, "onnx", tmp_path / "a file")
    export(classifier, "torch_export", tmp_path / "a file", overwrite=True)
    assert (tmp_path / "a file").read_bytes() == b"as torch_export"
    with pytest.raises(UserError, match="is the classifier itself"):
        export(classifier, "onnx", classifier, overwrite=True)
    with pytest.raises(UserError, match=r"the folder .* does not exist"):
        export(classifier, "onnx", tmp_path / "nowhere" / "a")


@pytest.mark.parametrize("off", [2e-4, float("nan")])
def test_answers_that_differ_are_not_written(classifier, forms, monkeypatch, off):
    forward = FittedNetwork.forward
    monkeypatch.setattr(FittedNetwork, "forward", lambda self, images: forward(self, images) + off)
    with pytest.raises(RunStopped, match=r"trees\.v2\.onnx: not written, since its probabilities differ"):
        export(classifier, "onnx")
    assert [p.name for p in classifier.parent.iterdir()] == [classifier.name]


@pytest.mark.parametrize(("form", "near"), [("onxx", "did you mean onnx?"), ("pickle", "onnx, torch_export")])
def test_other_forms_are_refused(tmp_path, form, near):
    with pytest.raises(UserError, match=f"--format: {form!r} is not allowed") as caught:
        export(tmp_path / "none", form)
    assert near in str(caught.value)


def test_packages_that_are_missing_are_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(stage, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(UserError) as caught:
        export(tmp_path / "none", "onnx")
    assert str(caught.value) == (
        "--format: onnx needs onnxscript, not installed here: "
        "pip install onnx onnxscript onnxruntime -r requirements.txt"
    )
