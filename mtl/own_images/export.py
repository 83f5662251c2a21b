"""A fitted classifier in the forms that other programs run, and what these answer."""

import io
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.data.formats import FULL
from mtl.data.ink import as_plain
from mtl.own_images.classifier import Fitted
from mtl.own_images.embedder import Preparation
from mtl.runtime.seeds import generator


class FittedNetwork(nn.Module):
    """uint8 images (B, channels, size, size) to calibrated probabilities (B, N) float32.

    All of it is computed in float32, and its course does not depend on what it is given, so that it can be
    traced. It is on the processor; the fitted classifier that it is made of stays as it is.
    """

    mean: Tensor  # (channels, 1, 1), of pixels in 0..255
    std: Tensor
    weight: Tensor  # (D, N)
    bias: Tensor  # (N,)

    def __init__(self, fitted: Fitted) -> None:
        super().__init__()
        embedder, self.preparation = fitted.embedder, fitted.embedder.preparation
        self.backbone = deepcopy(embedder.learner.backbone).cpu().to(memory_format=torch.contiguous_format)
        self.base_learner = deepcopy(embedder.base_learner)
        constants = {
            "mean": torch.tensor(self.preparation.mean).view(-1, 1, 1) * 255,
            "std": torch.tensor(self.preparation.std).view(-1, 1, 1) * 255,
            "weight": fitted.head.weight[0].mT / fitted.temperature,
            "bias": fitted.head.bias[0] / fitted.temperature,
        }
        for name, value in constants.items():
            self.register_buffer(name, value.float().contiguous())
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images.float() - self.mean) / self.std
        features = self.backbone(pixels)
        if self.preparation.mirror:
            features = (features + self.backbone(pixels.flip(-1))) / 2
        query = self.base_learner.transform_queries(self.base_learner.transform_features(features))
        return torch.softmax(query @ self.weight + self.bias, -1)


#: Forms, and how their files end.
FORMS = {"onnx": ".onnx", "torch_export": ".pt2"}
#: What each needs beside torch.
PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": ()}
#: Where the file says what it is: ONNX's metadata have this key, the archive of torch.export this extra file.
KEY = "fewshot.json"

Answer = Callable[[Tensor], Tensor]


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
    made = torch.onnx.export(
        program, (examples,), input_names=inputs, output_names=outputs, dynamo=True, verbose=False
    )
    assert made is not None
    made.model.metadata_props[KEY] = text
    content: bytes = made.model_proto.SerializeToString()
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


def about(fitted: Fitted) -> dict[str, Any]:
    """What a program has to know that runs the network: what goes in, and what comes out."""
    prepared = fitted.embedder.preparation
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
        "probabilities": {"dtype": "float32", "shape": ["batch", len(fitted.classes)], "calibrated": True},
        "classes": list(fitted.classes),
        "run": fitted.embedder.origin.run,
    }


def _of_levels(prepared: Preparation) -> str:
    known = prepared.levels is not None and prepared.levels < FULL
    return f"; in files of more than 8 bits {prepared.levels} is white" if known else ""


def _of_ink(prepared: Preparation) -> list[str]:
    """What the network needs where its training images are ink on a plain ground."""
    if (ink := prepared.ink) is None:
        return []
    wanted, other = "light ink on a dark ground", "dark ink on a light ground"
    if not ink.light:
        wanted, other = other, wanted
    ground, value = round(ink.ground[1]), round(ink.ground[1] + ink.side * ink.contrast[1])
    lines = [
        f"the network knows {wanted}: invert an image that has {other} (255 - value)",
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
def largest_difference(answer: Answer, fitted: Fitted, images: Tensor) -> float:
    """Between the probabilities of a file and those of the classifier, on images by 1, 2, 3, ... at once."""
    wanted = fitted.answer(fitted.embedder(images)).probabilities
    sizes, found = iter(range(1, len(images) + 1)), list[Tensor]()
    rest = images
    while len(rest):
        size = next(sizes)
        found.append(answer(rest[:size]))
        rest = rest[size:]
    return float((torch.cat(found).double() - wanted).abs().max())
