"""Few-shot image classification by meta-transfer learning, with hard-task resampling."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl.own_images.estimator import FewShotClassifier

__all__ = ["FewShotClassifier"]


def __getattr__(name: str) -> Any:
    if name == "FewShotClassifier":  # loads torch and scikit-learn, which most of this package does not need
        from mtl.own_images.estimator import FewShotClassifier

        return FewShotClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
