"""What the pages share: all in one file, escaping, a content policy, numbers as they are read.

Templates take text as text: everything is escaped but what is marked as the project's own. A content policy
names the hash of the page's script, so that nothing can be fetched and nothing else can run. The same
contents give the same bytes.
"""

import base64
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"
_UNKNOWN = "–"
# What HTML forbids or no UTF-8 can hold: control characters and halves of surrogate pairs.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def lay_out(
    template: str,
    helpers: Mapping[str, Callable[..., Any]],
    filters: Mapping[str, Callable[..., Any]],
    styles: Sequence[str] = ("style.css",),
    scripts: Sequence[str] = ("script.js",),
    **contents: Any,
) -> str:
    """A page, to be written as UTF-8.

    Args:
        template: its file.
        helpers: functions that templates call by these names.
        filters: further filters; percent, change, count, figure, key and breakable are there.
        styles, scripts: files that make up its style and its script.
        contents: what the template lays out.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "change": partial(percent, signed=True),
        "count": count,
        "figure": figure,
        "key": sort_key,
        "breakable": breakable,
        **filters,
    }
    environment.globals |= {"position": position, **helpers}
    style, script = (_joined(names) for names in (styles, scripts))
    return environment.get_template(template).render(
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **contents,
    )


def _joined(names: Iterable[str]) -> str:
    return "\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def printable(value: Any) -> Any:
    """What `{{ }}` writes; a name may come from a file system that allows anything."""
    if not isinstance(value, str):
        return value
    clean = _UNPRINTABLE.sub("�", str(value))
    return Markup(clean) if isinstance(value, Markup) else clean


def breakable(name: str) -> Markup:
    """A name that may go on in another line after each / and _, rather than anywhere."""
    parts = re.split("(?<=[/_])", str(printable(name)))
    return Markup("<wbr>").join(parts)  # which escapes them


def percent(share: float | None, digits: int = 1, signed: bool = False) -> str:
    """A share as a figure in percent, without the sign %; "–" where it is not known."""
    if share is None or not math.isfinite(share):
        return _UNKNOWN
    shown = f"{100 * share:+.{digits}f}" if signed else f"{100 * share:.{digits}f}"
    if not any(digit in shown for digit in "123456789"):
        shown = shown.lstrip("+-")  # no -0.0
    return shown.replace("-", "−")


def count(number: int) -> str:
    """12400 as "12,400"."""
    return f"{number:,}"


def figure(value: float | None, digits: int = 3) -> str:
    """Three decimals, or significant digits where those would all be 0; "–" where it is not known."""
    if value is None or not math.isfinite(value):
        return _UNKNOWN
    shown = f"{value:.{digits}f}" if value == 0 or abs(value) >= 10**-digits else f"{value:.2g}"
    return shown.replace("-", "−")


def sort_key(value: float | None) -> str:
    """What a column is sorted by; "" where there is no number."""
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"


def position(value: float, axis: tuple[float, float], size: float) -> float:
    """Where `value` stands on an axis `size` long; one beyond stands at the end.

    Raises:
        ValueError: the axis does not go up.
    """
    low, high = axis
    if not low < high:
        raise ValueError(f"an axis must go up, not from {low} to {high}")
    return round(size * min(max((value - low) / (high - low), 0.0), 1.0), 1)
