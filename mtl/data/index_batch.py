"""A batch of indices that says so where it is taken for a single index."""

_MISTAKEN = (
    "a whole batch of indices was taken for one index: this sampler makes batches, so give it to the "
    "DataLoader as batch_sampler=, not as sampler=, and without batch_size"
)


class IndexBatch(list[int]):
    """What a batch sampler yields.

    A DataLoader that is given a batch sampler as `sampler=` takes each batch for the index of one item. Data
    sets then fail at it with whatever a list provokes; ConcatDataset, and any list, by the sentence above.
    """

    def __lt__(self, other: object) -> bool:
        if isinstance(other, int):  # ConcatDataset asks whether an index is negative
            raise TypeError(_MISTAKEN)
        return super().__lt__(other)  # type: ignore[operator]

    def __index__(self) -> int:
        raise TypeError(_MISTAKEN)
