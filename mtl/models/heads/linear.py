"""What every base learner comes to: a linear classifier of each task."""

from typing import NamedTuple

from torch import Tensor


class LinearHead(NamedTuple):
    """The adapted N-way classifiers of T tasks."""

    weight: Tensor  # (T, N, D)
    bias: Tensor  # (T, N)

    def __call__(self, query: Tensor) -> Tensor:
        """Logits (T, Q', N) of query features (T, Q', D)."""
        return query @ self.weight.mT + self.bias[..., None, :]
