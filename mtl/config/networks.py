"""How `backbone` names networks and weights, as far as that can be told without loading a library."""

import difflib
import re
from collections.abc import Sequence

#: Networks of this project.
OWN = ("conv4", "resnet12")
#: Others are named <library>.<network>.
LIBRARIES = ("torchvision", "timm")


def network_name(name: str) -> str:
    """The name, if it has the right form; whether the library has the network shows when it is loaded.

    Raises:
        ValueError: it has not; says what is allowed, and the nearest match.
    """
    library, _, network = name.partition(".")
    if name in OWN or (library in LIBRARIES and network):
        return name
    near = _nearest(name)
    hint = f"; did you mean {near}?" if near else ""
    raise ValueError(f"must be {', '.join(OWN)}, torchvision.NAME or timm.NAME{hint}")


def _nearest(name: str) -> str | None:
    library, dot, network = name.partition(".")
    if dot:
        near = difflib.get_close_matches(library.lower(), LIBRARIES, 1)
        return f"{near[0]}.{network}" if near and network else None
    plain = re.sub(r"[\s_-]", "", name.lower())
    near = difflib.get_close_matches(plain, OWN, 1, 0.75)
    if near and _digits(near[0]) == _digits(plain):  # resnet18 is no misspelt resnet12
        return near[0]
    return f"torchvision.{name}" if name.isidentifier() and name not in LIBRARIES else None


def _digits(name: str) -> Sequence[str]:
    return re.findall(r"\d", name)


def is_file(weights: str) -> bool:
    """Whether `backbone.weights` is the path of a file; names of published weights have no dot or slash."""
    return any(c in weights for c in "./\\")
