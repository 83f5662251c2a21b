"""A fitted classifier as one plain network, from pixels to probabilities: what other programs can run."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from mtl.fewshot.fitted import Fitted


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
        query = self.base_learner.towards(self.base_learner.embed(features))
        return torch.softmax(query @ self.weight + self.bias, -1)
