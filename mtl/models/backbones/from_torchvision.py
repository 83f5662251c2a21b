"""Backbones out of torchvision, without their classifier."""

from torch import Tensor, nn


class FromTorchvision(nn.Module):
    """A torchvision network whose last layer is taken off; its input is what that layer was given.

    Args:
        name: a torchvision model with a `fc` or `classifier` at its end.
        in_channels: of the images; greyscale images are repeated to three channels.
    """

    def __init__(self, name: str, in_channels: int) -> None:
        super().__init__()
        from torchvision.models import get_model

        self.network = get_model(name, weights=None)
        self.in_channels = in_channels
        if isinstance(getattr(self.network, "fc", None), nn.Linear):
            self.out_features = int(self.network.fc.in_features)
            self.network.fc = nn.Identity()
        else:
            first = next(m for m in self.network.classifier if isinstance(m, nn.Linear))
            self.out_features = int(first.in_features)
            self.network.classifier = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) to features (B, D)."""
        features: Tensor = self.network(images.expand(-1, 3, -1, -1) if self.in_channels == 1 else images)
        return features
