"""The sentences about a config that is refused."""

import pytest

from mtl.config import load_config, read_config
from mtl.errors import UserError


def mistakes(given):
    """One sentence for each mistake in a tree (a mapping) or in overrides (a sequence)."""
    with pytest.raises(UserError) as caught:
        read_config(given, "here") if isinstance(given, dict) else load_config(None, given)
    first, *rest = str(caught.value).split("\n")
    number = f"{len(rest)} mistake{'s' if len(rest) > 1 else ''}"
    assert first == f"{'here' if isinstance(given, dict) else 'the overrides'}: {number}"
    assert all(line.startswith("  ") for line in rest)
    return [line.strip() for line in rest]


def mistake(given, *parts):
    """Asserts that there is one mistake, whose sentence begins with the first part and holds the others."""
    (sentence,) = mistakes(given)
    assert sentence.startswith(parts[0]), sentence
    assert all(part in sentence for part in parts), sentence
