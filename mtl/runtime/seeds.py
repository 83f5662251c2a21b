"""Random generators named by their purpose.

Nothing in this package draws from a global generator. A name gives the same stream however often the run was
stopped, and on any number of workers.
"""

import hashlib

import torch


def derive_seed(seed: int, *path: int | str) -> int:
    """A 63-bit seed for the stream named by `path`, below the run's `seed`.

    Streams of different paths are independent: the path is hashed with BLAKE2b.
    """
    text = repr((int(seed), *(p if isinstance(p, str) else int(p) for p in path)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A fresh CPU generator for the stream named by `path`, e.g. `generator(0, "pretrain", epoch)`."""
    return torch.Generator().manual_seed(derive_seed(seed, *path))
