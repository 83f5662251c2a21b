"""What the ledger tells of one phase, with pictures and figures: the heart of the report."""

from mtl.ledger.class_history import extra_draws, weights_over_rounds
from mtl.ledger.confusions import Confusions, confusions
from mtl.ledger.queries import classes_met, rounds
from mtl.ledger.regression_to_mean import Improvement, improvement
from mtl.ledger.store import Ledger, Phase
from mtl.report.cards import Limits, class_rows, pair_cards, task_cards
from mtl.report.contents import PhaseReport
from mtl.report.drawings import Drawings
from mtl.report.figures import confusion, round_weights
from mtl.report.figures import draw_share as extra
from mtl.report.figures import regression as improvement_figure
from mtl.report.thumbnails import Gallery

_ALL = 10_000_000  # rounds: more than any run has


def phase_report(
    ledger: Ledger, phase: Phase, gallery: Gallery | None, drawings: Drawings, run: str, limits: Limits
) -> PhaseReport:
    """One phase of a run's ledger.

    Args:
        ledger: of the run.
        phase: one of its phases.
        gallery: the images that the phase's indices speak of; None where they cannot be had.
        drawings: takes up the figures.
        run: its name, for the names of figures.
        limits: how much is shown.
    """
    name, title = phase.name, f"{run} {phase.name}"
    every_round, weights = rounds(ledger, name, _ALL), weights_over_rounds(ledger, name)
    shares, confused, found = extra_draws(ledger, name), confusions(ledger, name), improvement(ledger, name)
    return PhaseReport(
        title=name,
        split=phase.split,
        episodes=phase.episodes,
        tasks=task_cards(ledger, name, gallery, limits),
        classes=class_rows(ledger, name, gallery, limits),
        classes_in_all=classes_met(ledger, phase),
        pairs=pair_cards(ledger, name, gallery, limits),
        rounds=every_round[-limits.rounds :],
        rounds_in_all=len(every_round),
        confusion=drawings.add(
            f"{title} confusion",
            confusion.heat_map(confused) if confused else None,
            _confusion_caption(confused) if confused else "",
            f"Heat map of the confusion between {len(confused.names)} {_kind(confused)}" if confused else "",
        ),
        boosting=drawings.add(
            f"{title} rounds",
            round_weights.boosting(every_round, weights),
            "What each round came to"
            + ("; the bands show how far the boosting weights have drifted apart." if weights else "."),
            f"Accuracy and more over {len(every_round)} rounds",
        ),
        extra=drawings.add(
            f"{title} extra episodes",
            extra.extra_draws(shares) if shares else None,
            "Where the hard episodes went, beside what an even draw would have given.",
            f"Hard draws of {len(shares)} classes or groups",
        ),
        improvement=drawings.add(
            f"{title} improvement",
            improvement_figure.improvement(found) if found else None,
            "Accuracy before against after, of what was picked and of what was not. Whatever scored badly by "
            "bad luck scores better the next time, picked or not: regression to the mean. Only what the "
            "picked win beyond others of the same start can come from training on them.",
            "Accuracy before and after, picked against not picked",
        ),
        improvement_told=_told(found, trained=phase.split == "train") if found else None,
    )


def _kind(found: Confusions) -> str:
    return "groups" if found.by_group else "classes"


def _confusion_caption(found: Confusions) -> str:
    return (
        "Mean probability that queries of the row got for the column. "
        f"{_kind(found).capitalize()} that are taken for each other stand together. "
        "Small shares are coloured more than in proportion, as the scale above it tells."
    )


def _told(found: Improvement, trained: bool) -> str:
    """The finding in words, with what it cannot say."""
    what = "recall" if found.unit == "class" else "accuracy"
    text = (
        f"Where a {found.unit} was picked ({len(found.picked):,} times) its {what} then changed by "
        f"{_points(found.gain_picked)} points, where it was not ({len(found.others):,} times) by "
        f"{_points(found.gain_others)}."
    )
    if found.at_equal_start is not None:
        text += f" From the same start the picked won {_points(found.at_equal_start)} points over the others."
    if not trained:
        return text + " Nothing was trained in between, so that all of it is regression to the mean."
    return text + (
        " Picked classes are chosen by more than one measurement and are truly harder: to win no more, or "
        "less, than others of the same start is no proof that training on them did nothing."
    )


def _points(figure: tuple[float, float]) -> str:
    mean, half = figure
    return f"{100 * mean:+.1f} ± {100 * half:.1f}".replace("-", "−")
