"""Features bent by a power, so that few strong filters do not decide a comparison alone."""

from torch import Tensor

_NEAR_ZERO = 1e-4  # features after a ReLU are often 0, where a root has no slope


def power_transform(features: Tensor, power: float) -> Tensor:
    """sign(x) · ((|x| + ε)^p − ε^p), any shape: Tukey's ladder, as in Yang et al., ICLR 2021."""
    if power == 1:
        return features
    bent: Tensor = (features.abs() + _NEAR_ZERO) ** power - _NEAR_ZERO**power
    return features.sign() * bent
