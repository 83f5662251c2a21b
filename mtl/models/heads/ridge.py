"""Ridge regression on one-hot labels in closed form (Bertinetto et al., ICLR 2019), in its dual form."""

import torch
import torch.nn.functional as F
from torch import Tensor


def ridge(support: Tensor, labels: Tensor, query: Tensor, way: int, penalty: float) -> Tensor:
    """(T, Q', N): queries times W = argmin ‖X W − Y‖² + penalty ‖W‖², with a bias that is penalised alike."""
    onehot = F.one_hot(labels, way).to(support.dtype)
    gram = support @ support.mT + 1
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    coefficients = torch.linalg.solve(gram + penalty * eye, onehot)
    logits: Tensor = (query @ support.mT + 1) @ coefficients
    return logits
