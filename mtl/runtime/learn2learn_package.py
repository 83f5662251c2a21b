"""The one place that imports learn2learn: it is heavy, and optional."""

import warnings
from typing import Any

from mtl.errors import UserError


def import_learn2learn(who: str) -> Any:
    """learn2learn, without the warnings of the packages that it imports.

    Raises:
        UserError: it is not installed; `who` begins the sentence and says what needs it.
    """
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
