"""Ridge regression on one-hot labels in closed form (Bertinetto et al., ICLR 2019), in its dual form."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.models.heads.prototype import LinearHead


def ridge(support: Tensor, labels: Tensor, way: int, penalty: float) -> LinearHead:
    """The heads argmin ‖X Wᵀ + b − Y‖² + penalty (‖W‖² + ‖b‖²)."""
    onehot = F.one_hot(labels, way).to(support.dtype)
    gram = support @ support.mT + 1
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    coefficients = torch.linalg.solve(gram + penalty * eye, onehot)
    return LinearHead(coefficients.mT @ support, coefficients.sum(1))
