"""The hard-task samplers: which episodes meta-training sees. One file each, one interface."""

from mtl.samplers.build import build_sampler, meta_steps

__all__ = ["build_sampler", "meta_steps"]
