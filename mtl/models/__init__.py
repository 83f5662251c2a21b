"""Networks: backbones, scaling and shifting, base learners."""
