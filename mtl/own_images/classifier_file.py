"""A fitted classifier as one file: tensors as safetensors, all else as JSON in its header."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from mtl.config import Meta, Runtime
from mtl.data.near_copies import SIDE, Prints
from mtl.errors import UserError, one_line
from mtl.learners import Committee, MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.models.heads import LinearHead
from mtl.models.scale_shift import give_biases
from mtl.own_images.class_labels import LABEL_DTYPE
from mtl.own_images.classifier import FittedClassifier, LabelKind
from mtl.own_images.embedder import Embedder, Origin, Preparation
from mtl.own_images.leave_one_out import HeldOut, OpenSet
from mtl.own_images.support import Support
from mtl.runtime.devices import choose_device
from mtl.runtime.outputs import write_whole
from mtl.runtime.process import collection_paused
from mtl.runtime.seeds import generator

FORMAT = 3  # 1: mirror and zoom stood where variants are; 2: copies were moved in one way each

Precision = Literal["float32", "bfloat16"]
_DAMAGED = "is not a classifier, or was cut short or changed"
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _UnusableError(ValueError):
    """The content of a file cannot be used, in words that a person may read; libraries have others."""


@dataclass(frozen=True)
class _Header:
    """The header beside the names of classes and files, which may be no Unicode."""

    preparation: Preparation
    origin: Origin
    precision: Precision
    temperatures: tuple[tuple[int, _Temperature], ...]
    temperature: _Temperature
    open_set: tuple[_Number, _Number] | None
    label_kind: LabelKind
    label_dtype: Annotated[str, Field(pattern=f"^({LABEL_DTYPE})?$")]


def save(classifier: FittedClassifier, path: Path) -> None:
    """Writes the file whole or not at all."""
    from safetensors.torch import save as packed

    tree, tensors = _tree(classifier), _tensors(classifier)
    header = {"format": FORMAT, "sha256": _digest(tree, tensors), "told": tree}
    write_whole(path, packed(tensors, {"fewshot": json.dumps(header)}))


@collection_paused()
def load(path: Path, runtime: Runtime | None = None, precision: Precision | None = None) -> FittedClassifier:
    """A classifier as `save` wrote it. Nothing of the run that it came from is needed.

    Args:
        path: of the file.
        runtime: where it is to run; None: on the best device there is. Its precision is not used.
        precision: of the backbone; None: as it was saved, so that answers stay the same.

    Raises:
        UserError: there is no such file, or it is damaged, or of another kind or version; or the device is
            not available.
    """
    from safetensors import SafetensorError, safe_open

    shown = one_line(path)
    _require_content(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        raise UserError(f"{shown}: {_DAMAGED}") from None
    if "fewshot" not in metadata:
        raise UserError(f"{shown}: is not a classifier, but safetensors of another program")
    try:
        tree = dict(json.loads(metadata["fewshot"]))
        if (version := tree["format"]) in {1, FORMAT}:
            if tree["sha256"] != _digest(tree["told"], tensors):
                raise _UnusableError("its checksum is another")
            try:
                return _fitted(tree["told"], tensors, runtime or Runtime(), precision)
            except KeyError as name:  # the checksum holds, so it is not damage
                raise UserError(f"comes from another version: it lacks {name}; fit it again") from None
    except UserError as error:  # what the network needs is missing here
        raise UserError(f"{shown}: {str(error).splitlines()[0]}") from None
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise UserError(f"{shown}: {_DAMAGED}{_reason(error)}") from None
    raise UserError(f"{shown}: has format {version}, this version reads format {FORMAT}; fit it again")


def require_not_fine_tuned(classifier: FittedClassifier, path: Path, so: str) -> None:
    """Refuses a network that knows the support set better than new pictures: what is measured would be wrong.

    Raises:
        UserError: it is fine-tuned.
    """
    if classifier.embedder.origin.fine_tuned:
        raise UserError(
            f"{one_line(path)}: its network is fine-tuned to its pictures, so {so}; change their folder and "
            "fit it again, or fit it without --fine-tune"
        )


def _require_content(path: Path) -> None:
    """Refuses a path without a file, and an empty file."""
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


def _reason(error: Exception) -> str:
    """What is wrong, in brackets, where that is known in words of ours."""
    if isinstance(error, ValidationError):
        return f" ({'.'.join(map(str, error.errors()[0]['loc']))} is not as it should be)"
    if isinstance(error, KeyError):
        return f" (it lacks {error})"
    return f" ({error})" if isinstance(error, _UnusableError) else ""


def _digest(tree: Any, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the whole content: safetensors has no checksum."""
    digest = hashlib.sha256(json.dumps(tree).encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors(classifier: FittedClassifier) -> dict[str, Tensor]:
    support, head, held_out = classifier.support, classifier.head, classifier.held_out
    network = classifier.embedder.learner.state_dict()
    tensors = {f"network.{name}": value for name, value in network.items()} | {
        "support.features": support.features,
        "support.labels": support.labels,
        "support.views": support.views,
        "support.digests": support.prints.digests,
        "support.thumbnails": support.prints.thumbnails,
        "head.weight": head.weight,
        "head.bias": head.bias,
        "held_out.rows": held_out.rows,
        "held_out.logits": held_out.logits,
    }
    if classifier.open_set is not None:
        tensors["open_set.prototypes"] = classifier.open_set.prototypes
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _tree(classifier: FittedClassifier) -> dict[str, Any]:
    embedder, open_set = classifier.embedder, classifier.open_set
    header = _Header(
        embedder.preparation,
        embedder.origin,
        "bfloat16" if embedder.device.precision == torch.bfloat16 else "float32",
        embedder.temperatures,
        classifier.temperature,
        None if open_set is None else (open_set.threshold, open_set.slope),
        classifier.label_kind,
        classifier.label_dtype,
    )
    return {
        "classes": classifier.classes,
        "files": classifier.support.files,
        **asdict(header),
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
    }


def _fitted(
    tree: dict[str, Any], tensors: Mapping[str, Tensor], runtime: Runtime, precision: Precision | None
) -> FittedClassifier:
    fields = {name: tree[name] for name in _Header.__dataclass_fields__}
    if "mirror" in fields["preparation"]:
        before = dict(fields["preparation"])
        variants = {"mirror": before.pop("mirror"), "zoom": before.pop("zoom", 1.0)}
        fields["preparation"] = {**before, "variants": variants}
    header = TypeAdapter(_Header).validate_python(fields)
    classes, files = _texts(tree["classes"]), _texts(tree["files"])
    embedder = _embedder(header, tensors, replace(runtime, precision=precision or header.precision))
    rows, length = len(tensors["held_out.rows"]), sum(embedder.base_learner.sizes)
    expected = {
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
    if header.open_set is not None:
        expected["open_set.prototypes"] = ((len(classes), length), torch.float32)
    _require_tensors({name: tensors[name] for name in expected}, expected)
    prints = Prints(tensors["support.digests"], tensors["support.thumbnails"])
    features, labels, views = (tensors[f"support.{name}"] for name in ("features", "labels", "views"))
    support = Support(features, labels, classes, files, prints, views)
    held_out = HeldOut(tensors["held_out.rows"], tensors["held_out.logits"])
    if not set(held_out.rows.tolist()) <= set(range(support.view_count)):
        raise _UnusableError("held_out.rows are not support images")
    return FittedClassifier(
        embedder,
        support,
        LinearHead(tensors["head.weight"], tensors["head.bias"]),
        held_out,
        header.temperature,
        None if header.open_set is None else OpenSet(tensors["open_set.prototypes"], *header.open_set),
        header.label_kind,
        header.label_dtype,
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise _UnusableError("names of classes and files must be lists of texts")
    return tuple(value)


def _embedder(header: _Header, tensors: Mapping[str, Tensor], runtime: Runtime) -> Embedder:
    prepared, origin, prefix = header.preparation, header.origin, "network."
    state = {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}
    apart = any(name.startswith("backbone.backbones.") for name in state)  # a backbone of each learner
    meta = Meta(head=origin.head, way=origin.way, train="all" if apart else "head")
    device, first = choose_device(runtime), "backbone.backbones.0." if apart else "backbone."

    def one() -> MetaTransfer:
        network = build_backbone(origin.backbone, prepared.channels, prepared.size, generator(0, "backbone"))
        plain = {first + name for name in network.state_dict()}
        if any(name.startswith(first) and name not in plain for name in state):
            give_biases(network)  # as scaling and shifting leaves it when folded
        return MetaTransfer(network, meta, device)

    count = len(state.get("base_learner.votes", (1.0,)))
    if count != origin.learners or count < 1:
        raise _UnusableError(f"learners: {origin.learners} are named, and there are {count}")
    learner = one() if count == 1 else Committee([one() for _ in range(count)], [1.0] * count)
    expected = {prefix + name: (tuple(v.shape), v.dtype) for name, v in learner.state_dict().items()}
    _require_tensors({prefix + name: v for name, v in state.items()}, expected)
    learner.load_state_dict(state)
    return Embedder.of(learner, prepared, origin, header.temperatures)


def _require_tensors(
    tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
) -> None:
    """Refuses a tensor that is missing, unknown, of another shape or type, or not finite."""
    for name in sorted({*tensors, *expected}):
        if name not in tensors or name not in expected:
            raise _UnusableError(
                f"tensor {name} is {'missing' if name in expected else 'of another network'}"
            )
        value = tensors[name]
        if (tuple(value.shape), value.dtype) != expected[name]:
            raise _UnusableError(f"tensor {name} is {value.dtype} {tuple(value.shape)}, not {expected[name]}")
        if not value.isfinite().all():
            raise _UnusableError(f"tensor {name} holds values that are not numbers")
