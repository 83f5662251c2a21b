"""Folders of empty files with the names of pictures, and what the readers of folders make of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtl.config import read_config
from mtl.data.folder_classes import Choice, choose
from mtl.errors import UserError


def put(*names: str | Path) -> None:
    """Makes empty files."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def chosen(root: str | Path, **keys: object) -> Choice:
    """The classes of a folder, with the keys of `data` that are given."""
    data = read_config({"data": {"name": "image_folder", "root": str(root), **keys}}, "test").data
    return choose(Path(root), data, data.split_seed)


def refused(call: Callable[..., Any], *given: object, **keys: object) -> str:
    """The message, of one line, with which a call is refused."""
    with pytest.raises(UserError) as caught:
        call(*given, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)
