"""Which tasks, classes and pairs of classes are hard: their weights, the ledger, and views of it."""
