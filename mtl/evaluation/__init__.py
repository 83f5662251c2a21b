"""Accuracy on novel classes, with intervals, beside baselines; and what becomes of the worst tasks."""
