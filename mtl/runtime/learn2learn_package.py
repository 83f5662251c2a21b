"""The one place that imports learn2learn, which is heavy and optional."""

import warnings
from typing import Any

from mtl.errors import UserError


def import_learn2learn(who: str) -> Any:
    """learn2learn, without the warnings of its imports; UserError, which names `who`, if it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import learn2learn
    except ImportError:
        raise UserError(
            f"{who} needs learn2learn, which is not installed "
            "(requirements.txt installs it on Python below 3.13)"
        ) from None
    return learn2learn
