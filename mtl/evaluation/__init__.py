"""Accuracy on novel classes, with intervals, beside baselines; and the worst tasks drawn again."""
