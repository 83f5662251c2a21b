"""A fitted classifier as one file: tensors as safetensors, all else as JSON in its header."""

import json
import os
import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from mtl.config import Backbone, Head, Meta, Runtime
from mtl.errors import UserError
from mtl.fewshot.embedder import Embedder, Origin, Preparation
from mtl.fewshot.fitted import Fitted
from mtl.fewshot.held_out import HeldOut
from mtl.fewshot.open_set import OpenSet
from mtl.fewshot.support import Support
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.models.heads import LinearHead
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator

FORMAT = 1


def save(fitted: Fitted, path: Path) -> None:
    """Writes the file whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    from safetensors.torch import save as packed

    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(packed(_tensors(fitted), {"fewshot": json.dumps(_told(fitted))}))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: the classifier cannot be written ({error.strerror})") from None


def load(path: Path, runtime: Runtime | None = None) -> Fitted:
    """A classifier as `save` wrote it.

    Args:
        path: of the file.
        runtime: where it is to run; None: on the best device there is. Its precision is not asked.

    Raises:
        UserError: there is no such file, or it is damaged, or of another kind or version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such classifier; fit --out {path} makes one") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is no classifier, or damaged ({error})") from None
    told = json.loads(header.get("fewshot", "{}"))
    if told.get("format") != FORMAT:
        raise UserError(f"{path}: has format {told.get('format')}, this version reads format {FORMAT}")
    embedder = _embedder(told, tensors, runtime or Runtime())
    support = Support(
        tensors["support.features"],
        tensors["support.labels"],
        tuple(told["classes"]),
        tuple(told["files"]),
    )
    open_set = None
    if told["open_set"] is not None:
        open_set = OpenSet(tensors["open_set.prototypes"], *told["open_set"])
    return Fitted(
        embedder,
        support,
        LinearHead(tensors["head.weight"], tensors["head.bias"]),
        HeldOut(tensors["held_out.rows"], tensors["held_out.logits"]),
        told["temperature"],
        open_set,
    )


def _tensors(fitted: Fitted) -> dict[str, Tensor]:
    network = {f"network.{k}": v.cpu().contiguous() for k, v in fitted.embedder.learner.state_dict().items()}
    known = {
        "support.features": fitted.support.features,
        "support.labels": fitted.support.labels,
        "head.weight": fitted.head.weight,
        "head.bias": fitted.head.bias,
        "held_out.rows": fitted.held_out.rows,
        "held_out.logits": fitted.held_out.logits,
    }
    if fitted.open_set is not None:
        known["open_set.prototypes"] = fitted.open_set.prototypes
    return network | {name: value.contiguous() for name, value in known.items()}


def _told(fitted: Fitted) -> dict[str, Any]:
    embedder, origin, unlike = fitted.embedder, fitted.embedder.origin, fitted.open_set
    return {
        "format": FORMAT,
        "classes": list(fitted.classes),
        "files": list(fitted.support.files),
        "preparation": asdict(embedder.preparation),
        "run": origin.run,
        "backbone": asdict(origin.backbone),
        "head": asdict(origin.head),
        "way": origin.way,
        "precision": str(embedder.device.precision).removeprefix("torch."),
        "temperatures": embedder.temperatures,
        "temperature": fitted.temperature,
        "open_set": None if unlike is None else [unlike.threshold, unlike.slope],
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
    }


def _embedder(told: dict[str, Any], tensors: dict[str, Tensor], runtime: Runtime) -> Embedder:
    prepared = told["preparation"]
    preparation = Preparation(**{**prepared, "mean": tuple(prepared["mean"]), "std": tuple(prepared["std"])})
    backbone = TypeAdapter(Backbone).validate_python(told["backbone"])
    head = TypeAdapter(Head).validate_python(told["head"])
    network = build_backbone(backbone, preparation.channels, preparation.size, generator(0, "backbone"))
    device = choose_device(replace(runtime, precision=told["precision"]))
    learner = MetaTransfer(network, Meta(head=head, way=told["way"], train="head"), device)
    learner.load_state_dict(
        {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    )
    origin = Origin(told["run"], backbone, head, told["way"])
    return Embedder.of(learner, preparation, origin, [(int(k), float(t)) for k, t in told["temperatures"]])
