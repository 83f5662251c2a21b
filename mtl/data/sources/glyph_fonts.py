"""The font faces that matplotlib ships, and the letters that they hold."""

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

_FAMILIES = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")
_BESIDES = ("DejaVuSansDisplay", "DejaVuSerifDisplay")  # decorative pieces, not letters
_COMPUTER_MODERN = ("cmr10", "cmss10", "cmtt10", "cmb10", "cmti10")  # their own order beyond ASCII
_LETTERS = {"Lu", "Ll", "Lo"}


@dataclass(frozen=True)
class Face:
    """One font file."""

    name: str
    path: str
    codepoints: frozenset[int]


@cache
def faces() -> tuple[Face, ...]:
    """All faces in a fixed order, the plain DejaVu Sans first: it holds the most."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    found = []
    for path in sorted(folder.glob("*.ttf"), key=lambda p: (p.stem != "DejaVuSans", p.stem)):
        if path.stem in _COMPUTER_MODERN:
            codepoints = {c for c in range(128) if chr(c).isalpha()}
        elif path.stem.startswith(_FAMILIES) and path.stem not in _BESIDES:
            codepoints = set(FT2Font(str(path)).get_charmap())
        else:
            continue
        found.append(Face(path.stem, str(path), frozenset(codepoints)))
    return tuple(found)


def letters(script: str, among: tuple[Face, ...]) -> list[tuple[int, str, str, tuple[Face, ...]]]:
    """Codepoint, script, name and faces of every letter of a script, by codepoint.

    Letters that Unicode takes for another with a mark (É), or for another's form (ﺏ), are left out: many of
    them differ by a dot.
    """
    found = []
    for code in sorted(set().union(*(f.codepoints for f in among))):
        character = chr(code)
        name = unicodedata.name(character, "")
        known = unicodedata.category(character) in _LETTERS and not unicodedata.decomposition(character)
        if known and name.startswith(script + " "):
            short = " ".join(w for w in name.removeprefix(script).lower().split() if w != "letter")
            holds = tuple(f for f in among if code in f.codepoints)
            found.append((code, script, f"{script.title()} {short} {character}", holds))
    return found
