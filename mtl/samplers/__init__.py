"""Who draws the episodes of meta-training: one rule, one file, one class.

To add a sampler: (1) a section with its options, and its name, in `mtl/config/hard_tasks.py`; (2) here a file
with a `MixedSampler` whose `choose` returns the classes of a chosen episode and whose `learn` takes in an
outcome (one that measures something first: `request` and `receive`); (3) a line in MIXED in `build.py`;
(4) an arm in `mtl/config/comparison.py`. Tests of all samplers then cover it, as does `compare`.
"""

from mtl.samplers.build import build_sampler, meta_steps

__all__ = ["build_sampler", "meta_steps"]
