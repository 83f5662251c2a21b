"""Exporting: what is refused, before and after the work; what is written."""

import importlib.util

import pytest
import torch

from mtl.config import Backbone, Head, Meta, Runtime
from mtl.errors import RunStopped, UserError
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.own_images import classifier_file as file
from mtl.own_images import export_command as stage
from mtl.own_images.classifier import fit
from mtl.own_images.embedder import Embedder, Origin, Preparation
from mtl.own_images.export import FittedNetwork
from mtl.own_images.export_command import export
from mtl.own_images.support import Support
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator


@pytest.fixture(params=["float32", "bfloat16"])
def classifier(request, tmp_path):
    """A fitted classifier's file, in the two precisions that runs have."""
    config, head = Backbone(channels=(4, 4, 4, 4)), Head()
    random = generator(0, "export")
    runtime = Runtime(device="cpu", threads=1, keep_memory=False, precision=request.param)
    learner = MetaTransfer(build_backbone(config, 1, 16, random), Meta(head=head), choose_device(runtime))
    prepared = Preparation(16, 1, (0.5,), (0.25,), mirror=False)
    made = Embedder.of(learner, prepared, Origin("run", config, head, 5))
    pixels = torch.randint(0, 256, (6, 1, 16, 16), dtype=torch.uint8, generator=random)
    path = tmp_path / "trees.v2.fewshot"
    file.save(fit(made, Support.of(made(pixels), list("aabbcc"), list("123456"))), path)
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


def test_without_a_classifier_nothing_is_made(tmp_path):
    with pytest.raises(UserError, match="there is no such classifier"):
        export(tmp_path / "none.fewshot", "torch_export")
    assert not list(tmp_path.iterdir())
