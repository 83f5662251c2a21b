"""A fitted classifier as a file that other programs run, without this one.

    python run_meta.py export --classifier things.fewshot --format onnx

Probabilities of uint8 images: an ONNX file for onnxruntime, or an archive of torch.export (.pt2).
"""

import difflib
import os
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.markup import escape

from mtl.config import Runtime
from mtl.errors import RunStopped, UserError, one_line
from mtl.own_images.classifier_file import load
from mtl.own_images.console import console
from mtl.own_images.export import (
    FORMS,
    PACKAGES,
    FittedNetwork,
    about,
    largest_difference,
    packed,
    trial_images,
    unpacked,
)
from mtl.runtime.outputs import require_free, write_whole

_TRIALS = 36  # images that a file is asked before it counts
_DIFFERENCE = 1e-4  # of probabilities: rounding is a hundredth of it


def export(classifier: Path, form: str, out: Path | None = None, overwrite: bool = False) -> Path:
    """Writes the file, once it has answered random images as the classifier does; says how they differ.

    It computes in float32, whatever the run did; where that was bfloat16, `predict` rounds more.

    Args:
        classifier: a file of `fit`.
        form: "onnx" or "torch_export".
        out: None: beside the classifier, with the form's ending.
        overwrite: whether a file that is there may be replaced.

    Returns:
        Where it is.

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
    fitted = load(classifier, Runtime(device="cpu"), precision="float32")
    content = packed(FittedNetwork(fitted), form, about(fitted))
    answer, _ = unpacked(content, form)
    images = trial_images(fitted.embedder.preparation, _TRIALS)
    difference = largest_difference(answer, fitted, images)
    if not difference <= _DIFFERENCE:
        raise RunStopped(
            f"{one_line(path)}: not written, since its probabilities differ from those of the classifier by "
            f"up to {difference:.1e}, more than {_DIFFERENCE:.0e}"
        )
    write_whole(path, content)
    how = f"on {_TRIALS} random images its probabilities differ by up to {difference:.1e}"
    as_saved = load(classifier, Runtime(device="cpu"))
    if as_saved.embedder.device.precision != torch.float32:
        rounded = largest_difference(answer, as_saved, images)
        how += f" in float32, and from those of predict, in bfloat16, by up to {rounded:.1e}"
    console().print(escape(f"Export: {one_line(path)}; {how}"), highlight=False, soft_wrap=True)
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
