"""Who draws the episodes of meta-training. Each rule is a class; rules that share a base share a file.

To add a sampler:
1. `mtl/config/hard_tasks.py`: its name, and a section with its options if it has any.
2. Here, a `MixedSampler`: `choose` returns the classes of a chosen episode, `learn` takes in an outcome. One
   that wants something measured first has `request` and `receive`. `state` names what a resumed run has to
   know; `choose` may change it. `reason` is what the ledger records: "hard" counts as resampled, so a control
   needs another word.
3. `build.py`: a line in MIXED.
4. `mtl/config/comparison.py`: an arm with three trials. `docs/method.md`: a row of the table.
The tests of all samplers then cover it, as does `compare`.
"""

from mtl.samplers.build import build_sampler, learner_steps, meta_steps

__all__ = ["build_sampler", "learner_steps", "meta_steps"]
