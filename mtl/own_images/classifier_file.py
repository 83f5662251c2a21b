"""A fitted classifier as one file: tensors as safetensors, all else as JSON in its header."""

import hashlib
import json
import logging
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from mtl.config import Meta, Runtime
from mtl.data.formats import FULL
from mtl.data.near_copies import SIDE
from mtl.data.prints import Prints
from mtl.errors import UserError, one_line
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.models.heads import LinearHead
from mtl.models.scale_shift import give_biases
from mtl.own_images.class_labels import LABEL_DTYPE
from mtl.own_images.classifier import Fitted, LabelKind
from mtl.own_images.embedder import Embedder, Origin, Preparation
from mtl.own_images.leave_one_out import HeldOut
from mtl.own_images.open_set import OpenSet
from mtl.own_images.support import Support
from mtl.runtime.devices import choose_device
from mtl.runtime.outputs import write_whole
from mtl.runtime.seeds import generator

FORMAT = 1

_log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
_DAMAGED = "is no classifier, or was cut short or changed"
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Unfit(ValueError):
    """What a file holds is of no use, in words that a person may read; libraries have others."""


@dataclass(frozen=True)
class _Told:
    """What the header says beside the names of classes and files, which may be no Unicode."""

    preparation: Preparation
    origin: Origin
    precision: Precision
    temperatures: tuple[tuple[int, _Temperature], ...]
    temperature: _Temperature
    open_set: tuple[_Number, _Number] | None
    label_kind: LabelKind
    label_dtype: Annotated[str, Field(pattern=f"^({LABEL_DTYPE})?$")] = ""  # older files have none


def save(fitted: Fitted, path: Path) -> None:
    """Writes the file whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    from safetensors.torch import save as packed

    told, tensors = _told(fitted), _tensors(fitted)
    header = {"format": FORMAT, "sha256": _digest(told, tensors), "told": told}
    write_whole(path, packed(tensors, {"fewshot": json.dumps(header)}))


def load(path: Path, runtime: Runtime | None = None, precision: Precision | None = None) -> Fitted:
    """A classifier as `save` wrote it. Nothing of the run that it came from is needed.

    Args:
        path: of the file.
        runtime: where it is to run; None: on the best device there is. Its precision is not asked.
        precision: of the backbone; None: as it was saved, so that answers stay the same.

    Raises:
        UserError: there is no such file, or it is damaged, or of another kind or version; or the device is
            not to be had.
    """
    from safetensors import SafetensorError, safe_open

    shown = one_line(path)
    _require_content(path)
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        raise UserError(f"{shown}: {_DAMAGED}") from None
    if "fewshot" not in header:
        raise UserError(f"{shown}: is no classifier, but safetensors of another program")
    try:
        tree = dict(json.loads(header["fewshot"]))
        found = tree["format"]
        if found == FORMAT:
            if tree["sha256"] != _digest(tree["told"], tensors):
                raise _Unfit("its checksum is another")
            return _noted(_fitted(tree["told"], tensors, runtime or Runtime(), precision), shown)
    except UserError as error:  # what the network needs is not there
        raise UserError(f"{shown}: {str(error).splitlines()[0]}") from None
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise UserError(f"{shown}: {_DAMAGED}{_what(error)}") from None
    raise UserError(f"{shown}: has format {found}, this version reads format {FORMAT}")


def _noted(fitted: Fitted, shown: str) -> Fitted:
    """The classifier, after saying what one of an earlier version cannot do for new pictures."""
    if not fitted.support.prints.known().all():
        _log.warning(
            "%s: comes from an earlier version, which noted neither the ink of the training images nor what "
            "the support pictures look like, so that pictures with the opposite ink, and support pictures "
            "among new ones, are not noticed; fit it again to its pictures",
            shown,
        )
    return fitted


def _require_content(path: Path) -> None:
    """Checks what can be said without looking into the file.

    Raises:
        UserError: there is no such file, it cannot be read, is empty, or a folder.
    """
    shown = one_line(path)
    if path.is_dir():
        of_run = (path / "config.yaml").exists()
        what = "the folder of a run; --run and --support go with it" if of_run else "a folder, no classifier"
        raise UserError(f"{shown}: is {what}")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise UserError(f"{shown}: the file is empty")
    except FileNotFoundError:
        raise UserError(f"{shown}: there is no such classifier; fit --out {shown} makes one") from None
    except OSError as error:
        raise UserError(f"{shown}: cannot be read ({error.strerror})") from None


def _what(error: Exception) -> str:
    """What is wrong, in brackets, where that is known in words of ours."""
    if isinstance(error, ValidationError):
        return f" ({'.'.join(map(str, error.errors()[0]['loc']))} is not as it should be)"
    if isinstance(error, KeyError):
        return f" (it lacks {error})"
    return f" ({error})" if isinstance(error, _Unfit) else ""


def _digest(told: Any, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all that a file holds: safetensors has no checksum of its own."""
    found = hashlib.sha256(json.dumps(told).encode())
    for name in sorted(tensors):
        found.update(f"\n{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _tensors(fitted: Fitted) -> dict[str, Tensor]:
    known = {f"network.{name}": value for name, value in fitted.embedder.learner.state_dict().items()}
    known |= {
        "support.features": fitted.support.features,
        "support.labels": fitted.support.labels,
        "support.views": fitted.support.views,
        "support.digests": fitted.support.prints.digests,
        "support.thumbnails": fitted.support.prints.thumbnails,
        "head.weight": fitted.head.weight,
        "head.bias": fitted.head.bias,
        "held_out.rows": fitted.held_out.rows,
        "held_out.logits": fitted.held_out.logits,
    }
    if fitted.open_set is not None:
        known["open_set.prototypes"] = fitted.open_set.prototypes
    return {name: value.detach().cpu().contiguous() for name, value in known.items()}


def _told(fitted: Fitted) -> dict[str, Any]:
    embedder, unlike = fitted.embedder, fitted.open_set
    told = _Told(
        embedder.preparation,
        embedder.origin,
        "bfloat16" if embedder.device.precision == torch.bfloat16 else "float32",
        embedder.temperatures,
        fitted.temperature,
        None if unlike is None else (unlike.threshold, unlike.slope),
        fitted.label_kind,
        fitted.label_dtype,
    )
    return {
        "classes": fitted.classes,
        "files": fitted.support.files,
        **asdict(told),
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
    }


def _fitted(
    tree: dict[str, Any], tensors: Mapping[str, Tensor], runtime: Runtime, precision: Precision | None
) -> Fitted:
    """
    Raises:
        KeyError, TypeError, ValueError, RuntimeError, UserError: for what is missing or does not fit.
    """
    # older files were read with the white of 16 bits, and without an ink
    tree = {**tree, "preparation": {"levels": FULL, **tree["preparation"]}}
    told = TypeAdapter(_Told).validate_python(
        {name: tree[name] for name in _Told.__dataclass_fields__ if name in tree or name != "label_dtype"}
    )
    classes, files = _texts(tree["classes"]), _texts(tree["files"])
    embedder = _embedder(told, tensors, replace(runtime, precision=precision or told.precision))
    tensors = {**_without_views(len(files)), **tensors}
    rows, length = len(tensors["held_out.rows"]), sum(embedder.base_learner.sizes)
    wanted = {
        "support.features": ((len(files), length), torch.float32),
        "support.labels": ((len(files),), torch.int64),
        "support.views": ((len(files),), torch.int64),
        "support.digests": ((len(files), 16), torch.uint8),
        "support.thumbnails": ((len(files), SIDE, SIDE), torch.uint8),
        "head.weight": ((1, len(classes), length), torch.float32),
        "head.bias": ((1, len(classes)), torch.float32),
        "held_out.rows": ((rows,), torch.int64),
        "held_out.logits": ((rows, len(classes)), torch.float32),
    }
    if told.open_set is not None:
        wanted["open_set.prototypes"] = ((len(classes), length), torch.float32)
    _require_as_told({name: tensors[name] for name in wanted}, wanted)
    prints = Prints(tensors["support.digests"], tensors["support.thumbnails"])
    features, labels, views = (tensors[f"support.{name}"] for name in ("features", "labels", "views"))
    support = Support(features, labels, classes, files, prints, views)
    held_out = HeldOut(tensors["held_out.rows"], tensors["held_out.logits"])
    if not set(held_out.rows.tolist()) <= set(range(support.view_count)):
        raise _Unfit("held_out.rows are no support images")
    open_set = None if told.open_set is None else OpenSet(tensors["open_set.prototypes"], *told.open_set)
    head = LinearHead(tensors["head.weight"], tensors["head.bias"])
    kinds = told.label_kind, told.label_dtype
    return Fitted(embedder, support, head, held_out, told.temperature, open_set, *kinds)


def _without_views(count: int) -> dict[str, Tensor]:
    """What files of earlier versions lack: each image is a view of its own, and its pixels are not known."""
    unknown = Prints.unknown(count)
    return {
        "support.views": torch.arange(count),
        "support.digests": unknown.digests,
        "support.thumbnails": unknown.thumbnails,
    }


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise _Unfit("names of classes and files must be lists of texts")
    return tuple(value)


def _embedder(told: _Told, tensors: Mapping[str, Tensor], runtime: Runtime) -> Embedder:
    prepared, origin, prefix = told.preparation, told.origin, "network."
    state = _below(prefix, tensors)
    network = build_backbone(origin.backbone, prepared.channels, prepared.size, generator(0, "backbone"))
    if any(name not in network.state_dict() for name in _below("backbone.", state)):
        give_biases(network)  # as scaling and shifting leaves it when folded
    meta = Meta(head=origin.head, way=origin.way, train="head")
    learner = MetaTransfer(network, meta, choose_device(runtime))
    wanted = {prefix + name: (tuple(v.shape), v.dtype) for name, v in learner.state_dict().items()}
    _require_as_told({prefix + name: v for name, v in state.items()}, wanted)
    learner.load_state_dict(state)
    return Embedder.of(learner, prepared, origin, told.temperatures)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _require_as_told(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
) -> None:
    """
    Raises:
        _Unfit: a tensor is missing, too many, of another shape or kind, or holds what is no number.
    """
    for name in sorted({*tensors, *wanted}):
        if name not in tensors or name not in wanted:
            raise _Unfit(f"tensor {name} is {'missing' if name in wanted else 'of another network'}")
        value = tensors[name]
        if (tuple(value.shape), value.dtype) != wanted[name]:
            raise _Unfit(f"tensor {name} is {value.dtype} {tuple(value.shape)}, not {wanted[name]}")
        if not value.isfinite().all():
            raise _Unfit(f"tensor {name} holds values that are no numbers")
