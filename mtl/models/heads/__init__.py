"""Base learners: support features and labels in, query logits out, for a whole meta-batch at once.

Each takes `support` (T, S, D), `labels` (T, S) in 0..N-1 and the number of ways N, and returns a LinearHead,
which gives logits (T, Q', N) of query features (T, Q', D). Classifier files and exports (mtl/own_images)
store its weight and bias: a head that is not linear can be trained and evaluated, but not stored.

To add a head: a file here; its name and options in `Head` (mtl/config/schema.py); a case in each method of
`BaseLearner`; a row in docs/method.md; a line in HEADS (tests/helpers/made_classifiers.py), which tests run
over. Unequal numbers of support images should leave all classes equally likely
(tests/models/test_unequal_support.py).
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
