"""Networks of torchvision and timm as backbones: without their classifier, and without random layers."""

import difflib
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from mtl.config import Backbone
from mtl.config.values import is_file
from mtl.errors import UserError
from mtl.models.backbones.weights import read_state_dict
from mtl.runtime.progress import tell

_CLASSES = 1000  # of ImageNet: outputs of torchvision's classifiers
_SIDE_CLASSIFIERS = ("aux1", "aux2", "AuxLogits")  # of googlenet and inception_v3

_HUB_FILE = "model.safetensors"
_OWN_FILE = "backbone.weights=FILE (for own pictures --weights FILE)"


@dataclass(frozen=True)
class InputFormat:
    """The images that published weights are made for."""

    size: int  # pixels a side
    mean: tuple[float, ...]  # of each channel, pixels in [0, 1]
    std: tuple[float, ...]


class FromLibrary(nn.Module):
    """A network whose classifier is removed; its feature is the classifier's input.

    Dropout and stochastic depth are off: they draw from torch's global generator, which no checkpoint holds.

    Args:
        network: images (B, 3, H, W) to features (B, D).
        out_features: D.
        removed: layers that published weights have and `network` does not.
    """

    def __init__(self, network: nn.Module, out_features: int, removed: Iterable[str]) -> None:
        super().__init__()
        self.network = network
        self.out_features = out_features
        self.removed = tuple(removed)
        for module in network.modules():
            if isinstance(module, _DropoutNd) or type(module).__name__ == "StochasticDepth":  # torchvision's
                module.p = 0.0  # type: ignore[assignment]
            elif hasattr(module, "drop_prob"):  # timm's
                module.drop_prob = 0.0  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) to features (B, D); grey images are repeated to three channels."""
        features: Tensor = self.network(images.expand(-1, 3, -1, -1))
        return features


class Library(ABC):
    """Where networks come from; every method raises UserError for names that the library does not have."""

    @abstractmethod
    def require_known(self, name: str) -> None:
        """Checks that the library has a network of this name."""

    @abstractmethod
    def build(self, name: str, weights: str | None) -> FromLibrary:
        """The network with random weights, built as these published weights need it."""

    @abstractmethod
    def input_format(self, name: str, weights: str | None) -> InputFormat:
        """The images of published weights; of a file, or of none, those of the network's default weights."""

    @abstractmethod
    def published_weights(self, name: str, weights: str) -> dict[str, Tensor]:
        """Published weights from the library's cache, downloaded first if they are not in it."""


def library_of(config: Backbone) -> tuple[Library, str]:
    """The library of a config's network, and the network's name in it."""
    library, _, name = config.name.partition(".")
    return {"torchvision": Torchvision, "timm": Timm}[library](), name


def _did_you_mean(library: str, name: str, known: Sequence[str], otherwise: str) -> str:
    near = [f"{library}.{match}" for match in difflib.get_close_matches(name, known, 3)]
    return f"did you mean {' or '.join(near)}?" if near else otherwise


class Torchvision(Library):
    """The classification networks of torchvision."""

    def require_known(self, name: str) -> None:
        import torchvision

        known = torchvision.models.list_models(module=torchvision.models)
        if name not in known:
            hint = _did_you_mean("torchvision", name, known, f"it has {', '.join(known)}")
            raise UserError(f"backbone.name: torchvision has no classification network {name}; {hint}")

    def build(self, name: str, weights: str | None) -> FromLibrary:
        from torchvision.models import get_model

        self.require_known(name)
        options: dict[str, Any] = {}
        if name in {"googlenet", "inception_v3"}:  # their weights are of other images, which they convert to
            options = {"aux_logits": False, "init_weights": True, "transform_input": weights is not None}
        elif name.startswith("vit_") and weights is not None:
            options = {"image_size": self.input_format(name, weights).size}
        network = get_model(name, weights=None, **options)
        path, inputs = _classifier(network)
        network.set_submodule(path, nn.Identity())
        return FromLibrary(network, inputs, (path, *_SIDE_CLASSIFIERS))

    def input_format(self, name: str, weights: str | None) -> InputFormat:
        to_images = self._member(name, weights).transforms()
        return InputFormat(int(to_images.crop_size[0]), tuple(to_images.mean), tuple(to_images.std))

    def published_weights(self, name: str, weights: str) -> dict[str, Tensor]:
        member = self._member(name, weights)
        url = member.url
        path = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)
        if not path.exists():
            digest = re.search(r"-([0-9a-f]+)\.", path.name)
            size, licence = (
                member.meta["_file_size"],
                member.meta.get("license", "BSD-3-Clause, torchvision's"),
            )
            tell(
                f"downloading the weights {member.name} of torchvision.{name}: {path.name}, {size:.0f} MB, "
                f"from {url} into {path.parent}; licence: {licence}"
            )
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(
                    url, str(path), digest and digest.group(1), progress=sys.stderr.isatty()
                )
            except (OSError, RuntimeError) as error:  # no network; another file than was published
                raise UserError(
                    f"backbone.weights: {weights} of torchvision.{name} cannot be downloaded ({error}); put "
                    f"{path.name} ({url}) into {path.parent}, or give it as {_OWN_FILE}"
                ) from None
        return read_state_dict(path)

    def _member(self, name: str, weights: str | None) -> Any:
        """The member of torchvision's enumeration of weights."""
        from torchvision.models import get_model_weights

        known = get_model_weights(name)
        chosen = "DEFAULT" if weights is None or is_file(weights) else weights
        if chosen not in known.__members__:
            raise UserError(
                f"backbone.weights: {weights}, but torchvision.{name} takes {', '.join(known.__members__)} "
                "or a file (.pth, .pt or .safetensors)"
            )
        return known[chosen]


def _classifier(network: nn.Module) -> tuple[str, int]:
    """The path of the last layer with an output for each class, and the number of its inputs."""
    layers = []
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Linear) and layer.out_features == _CLASSES:
            layers.append((path, layer.in_features))
        elif isinstance(layer, nn.Conv2d) and layer.out_channels == _CLASSES:  # squeezenet averages behind it
            layers.append((path, layer.in_channels))
    return layers[-1]


class Timm(Library):
    """The networks of timm (PyTorch Image Models); the package is an extra."""

    def require_known(self, name: str) -> None:
        timm = _timm(name)
        architecture, _, tag = name.partition(".")
        known = timm.list_models()
        if architecture not in known:
            hint = _did_you_mean("timm", architecture, known, "timm.list_models() has the names")
            raise UserError(f"backbone.name: timm has no network {architecture}; {hint}")
        tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
        if tag and tag not in tags:
            raise UserError(
                f"backbone.name: timm has no weights {tag} of {architecture}; it has "
                f"{', '.join(tags) or 'none'}"
            )

    def build(self, name: str, weights: str | None) -> FromLibrary:
        self.require_known(name)
        network = _timm(name).create_model(name, pretrained=False, num_classes=0)
        classifiers = network.pretrained_cfg.get("classifier") or ()
        removed = (classifiers,) if isinstance(classifiers, str) else classifiers
        return FromLibrary(network, int(getattr(network, "head_hidden_size", network.num_features)), removed)

    def input_format(self, name: str, weights: str | None) -> InputFormat:
        if weights not in {None, "DEFAULT"} and not is_file(str(weights)):
            raise UserError(
                f"backbone.weights: {weights}, but timm.{name} takes DEFAULT or a file (.pth, .pt or "
                ".safetensors); name other published ones by their tag, as "
                f"backbone.name=timm.{name}.{weights}"
            )
        timm = _timm(name)
        published = timm.get_pretrained_cfg(name)
        if weights == "DEFAULT" and not published.has_weights:
            raise UserError(f"backbone.weights: DEFAULT, but timm has no published weights of {name}")
        data = timm.data.resolve_data_config({}, pretrained_cfg=published.to_dict())
        return InputFormat(int(data["input_size"][-1]), tuple(data["mean"]), tuple(data["std"]))

    def published_weights(self, name: str, weights: str) -> dict[str, Tensor]:
        timm = _timm(name)
        published = timm.get_pretrained_cfg(name)
        hub = published.hf_hub_id
        where = f"{_HUB_FILE} of {hub} on the Hugging Face hub" if hub else published.url
        if not hub or not isinstance(
            import_module("huggingface_hub").try_to_load_from_cache(hub, _HUB_FILE), str
        ):
            with torch.device("meta"):
                numbers = sum(value.numel() for value in timm.create_model(name).state_dict().values())
            tell(
                f"downloading the weights of timm.{name}: {where}, about {4 * numbers / 1e6:.0f} MB, into "
                f"the cache of timm (docs/backbones.md); licence: {published.license or 'not named'}"
            )
        try:
            state: dict[str, Tensor] = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
        except Exception as error:  # of the hub's client, of whatever it uses, or of a damaged file
            cause = str(error).split("\n", maxsplit=1)[0][:200]
            raise UserError(
                f"backbone.weights: {weights} of timm.{name} cannot be downloaded ({cause}); download "
                f"{where} elsewhere and give it as {_OWN_FILE}"
            ) from None
        return state


def _timm(name: str) -> Any:
    try:
        return import_module("timm")
    except ImportError:
        raise UserError(
            f"backbone.name: timm.{name} needs the package timm, which is not installed: pip install timm"
        ) from None
