"""Losses of a classifier's training, for collections that are unbalanced or have wrong labels.

Class-level: CrossEntropy, ClassBalancedLoss, LogitAdjustedLoss. Image-level, on top of one of them:
FocalLoss, InfluenceBalancedLoss, HardExampleMiner, SelfPacedLoss. From a teacher: distillation_loss.
Outside of a loss: hard_example_miner.
"""

from mtl.losses.base import CrossEntropy, ImageLoss
from mtl.losses.class_balance import (
    ClassBalancedLoss,
    FocalLoss,
    InfluenceBalancedLoss,
    LogitAdjustedLoss,
    class_balanced_weights,
)
from mtl.losses.distillation import distillation_loss
from mtl.losses.hard_examples import HardExampleMiner
from mtl.losses.mining import hard_example_miner
from mtl.losses.self_paced import SelfPacedLoss, self_paced_weights

__all__ = [
    "ClassBalancedLoss",
    "CrossEntropy",
    "FocalLoss",
    "HardExampleMiner",
    "ImageLoss",
    "InfluenceBalancedLoss",
    "LogitAdjustedLoss",
    "SelfPacedLoss",
    "class_balanced_weights",
    "distillation_loss",
    "hard_example_miner",
    "self_paced_weights",
]
