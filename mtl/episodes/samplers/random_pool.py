"""The control of the hard-task meta-batch: pools as large as its own, of random classes.

What a hard-task meta-batch gains over uniform tasks may come from training on few classes for a while; what
it gains over this comes from their being hard.
"""

from mtl.episodes.samplers.meta_batch import MetaBatchSampler
from mtl.runtime.seeds import generator


class RandomPoolSampler(MetaBatchSampler):
    """As MetaBatchSampler; each class of a pool is renamed to another, the same for all its mentions.

    A pool has as many different classes as it would have had, and each counts as often.
    """

    reason = "random"

    def pooled(self, failed: list[int]) -> list[int]:
        distinct = sorted(set(failed))
        random = generator(self.seed, "random pool", self.rounds)
        others = self.index.draw_classes(len(distinct), random).tolist()
        renamed = dict(zip(distinct, others, strict=True))
        return [renamed[c] for c in failed]
