"""What the commands for own pictures tell a person, line by line."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from mtl.own_images.classifier import Fitted
from mtl.own_images.self_assessment import outlook, told
from mtl.runtime.progress import tell

MOST = 20  # sentences about single files


def console() -> Console:
    """Standard output, in lines that do not depend on a terminal that is not there."""
    return Console(width=None if sys.stdout.isatty() else 110)


def say_left_out(sentences: Sequence[str]) -> None:
    """On standard error: what was left out, up to 20 sentences, and how many more there are."""
    for sentence in sentences[:MOST]:
        tell(f"left out: {sentence}")
    if len(sentences) > MOST:
        tell(f"left out: and {len(sentences) - MOST:,} more")


def say_outlook(say: Console, fitted: Fitted) -> list[str]:
    """How well a classifier will do, as its own support pictures have it; the sentences."""
    sentences = told(outlook(fitted))
    if not fitted.embedder.temperatures:
        sentences.append(
            "How sure answers are rests on the support pictures alone: the run has no calibration.json, "
            "which evaluate writes."
        )
    for sentence in sentences:
        say.print(escape(sentence), highlight=False, soft_wrap=True)
    return sentences
