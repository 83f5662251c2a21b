"""Networks of other libraries as backbones: without their classifier, and with nothing left to chance."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd


@dataclass(frozen=True)
class InputFormat:
    """The images that published weights are made for."""

    size: int  # pixels a side
    mean: tuple[float, ...]  # of each channel, pixels in [0, 1]
    std: tuple[float, ...]


class FromLibrary(nn.Module):
    """A network whose classifier is taken off; its feature is what the classifier was given.

    Dropout and stochastic depth are off: they draw from torch's own generator, which no checkpoint holds.

    Args:
        network: images (B, 3, H, W) to features (B, D).
        out_features: D.
        removed: layers that published weights have and `network` has not.
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
