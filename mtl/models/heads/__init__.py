"""Base learners: support features and labels in, query logits out, for a whole meta-batch at once.

Each takes `support` (T, S, D), `labels` (T, S) in 0..N-1 and the number of ways N, and returns a LinearHead,
which gives logits (T, Q', N) of query features (T, Q', D).
"""

from mtl.models.heads.base_learner import BaseLearner
from mtl.models.heads.gradient_descent import gradient_descent
from mtl.models.heads.logistic import logistic, ridge
from mtl.models.heads.prototype import LinearHead, power_transform, prototype_logits, prototypes

__all__ = [
    "BaseLearner",
    "LinearHead",
    "gradient_descent",
    "logistic",
    "power_transform",
    "prototype_logits",
    "prototypes",
    "ridge",
]
