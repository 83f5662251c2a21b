"""A fitted classifier as a file that other programs run, without this one.

    python run_meta.py export --classifier things.fewshot --format onnx

Probabilities of uint8 images: an ONNX file for onnxruntime, or an archive of torch.export (.pt2).
"""

import difflib
import io
import json
import os
from collections.abc import Callable
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Runtime
from mtl.data.formats import FULL
from mtl.data.ink import as_plain
from mtl.errors import RunStopped, UserError, one_line
from mtl.own_images.classifier import FittedClassifier
from mtl.own_images.classifier_file import load
from mtl.own_images.console import say
from mtl.own_images.embedder import Preparation
from mtl.runtime.outputs import require_free, write_whole
from mtl.runtime.seeds import generator

#: Forms, and how their files end.
FORMS = {"onnx": ".onnx", "torch_export": ".pt2"}
#: What each needs beside torch.
PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": ()}
#: Where the file says what it is: ONNX's metadata have this key, the archive of torch.export this extra file.
KEY = "fewshot.json"

Answer = Callable[[Tensor], Tensor]

_TRIALS = 36  # images that a file classifies before it is written
_DIFFERENCE = 1e-4  # of probabilities: rounding is a hundredth of it


def export(classifier: Path, form: str, out: Path | None = None, overwrite: bool = False) -> Path:
    """Writes the file, once it classifies random images as the classifier does; returns its path.

    It computes in float32, whatever the run did; where that was bfloat16, `predict` rounds more.

    Args:
        classifier: a file of `fit`.
        form: "onnx" or "torch_export".
        out: None: beside the classifier, with the form's ending.
        overwrite: True if the file may exist.

    Raises:
        UserError: the form is unknown or needs packages that are not installed, there is no such classifier,
            or the file cannot be written.
        RunStopped: its answers differ.
    """
    _require_form(form)
    path = out or classifier.with_suffix(FORMS[form])
    if os.path.realpath(path) == os.path.realpath(classifier):
        raise UserError(f"{one_line(path)}: is the classifier itself; --out writes elsewhere")
    require_free(path, overwrite=overwrite)
    exact = load(classifier, Runtime(device="cpu"), precision="float32")
    content = packed(FittedNetwork(exact), form, about(exact))
    answer, _ = unpacked(content, form)
    images = trial_images(exact.embedder.preparation, _TRIALS)
    difference = largest_difference(answer, exact, images)
    if not difference <= _DIFFERENCE:
        raise RunStopped(
            f"{one_line(path)}: not written, since its probabilities differ from those of the classifier by "
            f"up to {difference:.1e}, more than {_DIFFERENCE:.0e}"
        )
    write_whole(path, content)
    result = f"on {_TRIALS} random images its probabilities differ by up to {difference:.1e}"
    as_saved = load(classifier, Runtime(device="cpu"))
    if as_saved.embedder.device.precision != torch.float32:
        rounded = largest_difference(answer, as_saved, images)
        result += f" in float32, and from those of predict, in bfloat16, by up to {rounded:.1e}"
    say([f"Export: {one_line(path)}; {result}"])
    return path


def _require_form(form: str) -> None:
    if form not in FORMS:
        near = difflib.get_close_matches(form, FORMS, 1, 0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"--format: {form!r} is not allowed; allowed are {', '.join(FORMS)}{hint}")
    missing = [name for name in PACKAGES[form] if find_spec(name) is None]
    if missing:
        raise UserError(
            f"--format: {form} needs {' and '.join(missing)}, not installed here: "
            f"pip install {' '.join(PACKAGES[form])} -r requirements.txt"
        )


class FittedNetwork(nn.Module):
    """uint8 images (B, channels, size, size) to calibrated probabilities (B, N) float32.

    All of it is computed in float32, without branches that depend on the images, so that it can be traced. It
    is on the processor; the fitted classifier that it is made of is not changed.
    """

    mean: Tensor  # (channels, 1, 1), of pixels in 0..255
    std: Tensor
    weight: Tensor  # (D, N)
    bias: Tensor  # (N,)

    def __init__(self, classifier: FittedClassifier) -> None:
        super().__init__()
        embedder, self.preparation = classifier.embedder, classifier.embedder.preparation
        self.backbone = deepcopy(embedder.learner.backbone).cpu().to(memory_format=torch.contiguous_format)
        self.base_learner = deepcopy(embedder.base_learner)
        constants = {
            "mean": torch.tensor(self.preparation.mean).view(-1, 1, 1) * 255,
            "std": torch.tensor(self.preparation.std).view(-1, 1, 1) * 255,
            "weight": classifier.head.weight[0].mT / classifier.temperature,
            "bias": classifier.head.bias[0] / classifier.temperature,
        }
        for name, value in constants.items():
            self.register_buffer(name, value.float().contiguous())
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images.float() - self.mean) / self.std
        features = self.preparation.variants.features(self.backbone, pixels)
        query = self.base_learner.transform_queries(self.base_learner.transform_features(features))
        return torch.softmax(query @ self.weight + self.bias, -1)


def packed(network: FittedNetwork, form: str, about: dict[str, Any]) -> bytes:
    """The network as the content of a file, for batches of any size; `about` goes into it as JSON."""
    prepared = network.preparation
    examples = torch.zeros(2, prepared.channels, prepared.size, prepared.size, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (examples,), dynamic_shapes={"images": {0: batch}})
    text = json.dumps(about)  # plain ASCII: the names of classes may be no Unicode
    if form == "torch_export":
        archive = io.BytesIO()
        torch.export.save(program, archive, extra_files={KEY: text})
        return archive.getvalue()
    inputs, outputs = ["images"], ["probabilities"]
    exported = torch.onnx.export(
        program, (examples,), input_names=inputs, output_names=outputs, dynamo=True, verbose=False
    )
    assert exported is not None
    exported.model.metadata_props[KEY] = text
    content: bytes = exported.model_proto.SerializeToString()
    return content


def unpacked(content: bytes, form: str) -> tuple[Answer, dict[str, Any]]:
    """What `packed` made, as other programs run it: from images (B, C, S, S) to (B, N); and `about`."""
    if form == "torch_export":
        extra = {KEY: ""}
        program = torch.export.load(io.BytesIO(content), extra_files=extra)
        return program.module(), json.loads(extra[KEY])
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def answer(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["probabilities"], {"images": images.numpy()})[0])

    return answer, json.loads(session.get_modelmeta().custom_metadata_map[KEY])


def about(classifier: FittedClassifier) -> dict[str, Any]:
    """What a program that runs the network has to know: inputs, preparation, outputs, classes."""
    prepared = classifier.embedder.preparation
    size, colours = prepared.size, "grey" if prepared.grayscale else "red, green, blue"
    return {
        "images": {
            "dtype": "uint8",
            "shape": ["batch", prepared.channels, size, size],
            "channels": colours,
            "prepare": [
                "turn the image upright, as its EXIF data say",
                "lay it on white where it is transparent",
                f"bring it to 8 bits of {colours}{_of_levels(prepared)}",
                f"take its middle square and scale it to {size} x {size} pixels, with a Lanczos filter",
                *_of_ink(prepared),
            ],
            "ink": as_plain(prepared.ink),
        },
        "probabilities": {
            "dtype": "float32",
            "shape": ["batch", len(classifier.classes)],
            "calibrated": True,
        },
        "classes": list(classifier.classes),
        "run": classifier.embedder.origin.network,
    }


def _of_levels(prepared: Preparation) -> str:
    known = prepared.levels is not None and prepared.levels < FULL
    return f"; in files of more than 8 bits {prepared.levels} is white" if known else ""


def _of_ink(prepared: Preparation) -> list[str]:
    """How to prepare images where the training images are ink on a plain ground."""
    if (ink := prepared.ink) is None:
        return []
    known, other = "light ink on a dark ground", "dark ink on a light ground"
    if not ink.light:
        known, other = other, known
    ground, value = round(ink.ground[1]), round(ink.ground[1] + ink.side * ink.contrast[1])
    lines = [
        f"the network knows {known}: invert an image that has {other} (255 - value)",
        f"bring its ground to about {ground} and its ink to about {value} of 255, whatever they were",
    ]
    if ink.sides:
        lines.append(
            f"instead of its middle square take one around the ink, whose longer side is {ink.extent[1]:.2f} "
            f"of it, unless the image has {' or '.join(f'{s} x {s}' for s in ink.sides)} pixels"
        )
    return lines


def trial_images(prepared: Preparation, count: int) -> Tensor:
    """Random images (B, channels, size, size) uint8, from plain ones to noise."""
    random, images = generator(0, "trial images"), []
    for i in range(count):
        side = min(2 ** (i % 8), prepared.size)
        coarse = torch.rand(1, prepared.channels, side, side, generator=random)
        images.append(F.interpolate(coarse, (prepared.size, prepared.size)))
    return (torch.cat(images) * 255).round().to(torch.uint8)


@torch.no_grad()
def largest_difference(answer: Answer, classifier: FittedClassifier, images: Tensor) -> float:
    """Between the probabilities of a file and those of the classifier, on images by 1, 2, 3, ... at once."""
    expected = classifier.answer(classifier.embedder(images)).probabilities
    answers, size, rest = list[Tensor](), 1, images
    while len(rest):
        answers.append(answer(rest[:size]))
        size, rest = size + 1, rest[size:]
    return float((torch.cat(answers).double() - expected).abs().max())
