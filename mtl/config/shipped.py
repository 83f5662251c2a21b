"""Configs that come with the program, found by name from any folder: `--config quickstart`."""

import difflib
from pathlib import Path

from mtl.errors import UserError

_PACKAGE = Path(__file__).parents[1]
#: Where they are: beside the package in a checkout, inside it when installed.
_PLACES = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def find_config(name: str | Path) -> Path:
    """The file that `--config` means: a path as it stands, or else a shipped config of this name.

    Names are those of the files without their ending, as in `quickstart` or `compare/glyphs`.

    Raises:
        UserError: there is neither; names the nearest.
    """
    path = Path(name)
    if path.exists():
        return path
    shipped = shipped_configs()
    wanted = path.with_suffix("").as_posix().removeprefix("configs/")
    if wanted in shipped:
        return shipped[wanted]
    beside = [str(path.parent / p.name) for p in path.parent.glob("*.yaml")]
    candidates = ((str(path), beside), (wanted, list(shipped)))
    near = [match for text, known in candidates for match in difflib.get_close_matches(text, known, 1)]
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"{path}: there is no such config; {hint}(shipped: {', '.join(shipped)})")


def shipped_configs() -> dict[str, Path]:
    """Every shipped config by its name, sorted."""
    place = next((p for p in _PLACES if p.is_dir()), None)
    files = sorted(place.rglob("*.yaml")) if place else []
    return {file.relative_to(place).with_suffix("").as_posix(): file for file in files if place}
