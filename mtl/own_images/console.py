"""What the commands for a person's own pictures print."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape

from mtl.own_images.classifier import FittedClassifier
from mtl.own_images.self_assessment import SelfAssessment, in_sentences, self_assessment
from mtl.runtime.progress import tell

_MOST = 20  # sentences about single files


def console() -> Console:
    """Standard output; where it is not a terminal, lines of 110 columns."""
    return Console(width=None if sys.stdout.isatty() else 110)


def say(lines: Iterable[str]) -> None:
    """Prints text as it is, a line each, unwrapped."""
    out = console()
    for line in lines:
        out.print(escape(line), highlight=False, soft_wrap=True)


def say_left_out(sentences: Sequence[str]) -> None:
    """On standard error: what was left out, up to 20 sentences, and how many more there are."""
    for sentence in sentences[:_MOST]:
        tell(f"left out: {sentence}")
    if len(sentences) > _MOST:
        tell(f"left out: and {len(sentences) - _MOST:,} more")


def say_self_assessment(classifier: FittedClassifier) -> tuple[SelfAssessment, list[str]]:
    """Prints a classifier's expected accuracy, estimated from its support pictures; returns the sentences."""
    assessment = self_assessment(classifier)
    sentences = in_sentences(assessment)
    if not classifier.embedder.temperatures:
        rests_on = "rests only on the support pictures" if len(classifier.held_out) else "is not known"
        of_run = classifier.embedder.origin.run is not None
        why = ": the run has no calibration.json, which evaluate writes" if of_run else ""
        sentences.append(f"The calibration {rests_on}{why}.")
    say(sentences)
    return assessment, sentences
