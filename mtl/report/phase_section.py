"""What the ledger has of one phase, with pictures and figures: the heart of the report."""

from collections.abc import Callable

from matplotlib.figure import Figure

from mtl.ledger.class_history import extra_draws, weights_over_rounds
from mtl.ledger.confusions import Confusions, confusions
from mtl.ledger.neighbourhoods import hardest_neighbourhoods
from mtl.ledger.queries import classes_met, is_evaluation, rounds
from mtl.ledger.regression_to_mean import Improvement, improvement
from mtl.ledger.store import Ledger, Phase
from mtl.ledger.training_dynamics import DataMap, class_map, learned_since, pair_map
from mtl.report.cards import Gallery, Limits, class_rows, neighbourhood_cards, pair_cards, task_cards
from mtl.report.contents import Drawing, PhaseReport
from mtl.report.drawings import Drawings
from mtl.report.figures import changes, confusion, data_map, round_weights

_ALL = 10_000_000  # rounds and neighbourhoods: more than any run has


def phase_report(
    ledger: Ledger, phase: Phase, gallery: Gallery, drawings: Drawings, run: str, limits: Limits
) -> PhaseReport:
    """One phase of a run's ledger.

    Args:
        ledger: of the run.
        phase: one of its phases.
        gallery: the images that the phase's indices speak of.
        drawings: takes up the figures.
        run: its name, for the names of figures.
        limits: how much is shown.
    """
    name, title = phase.name, f"{run} {phase.name}"
    every_round, weights = rounds(ledger, name, _ALL), weights_over_rounds(ledger, name)
    shares = extra_draws(ledger, name)
    around = hardest_neighbourhoods(ledger, name, _ALL)
    gains = improvement(ledger, name) if is_evaluation(name) else None
    return PhaseReport(
        title=name,
        split=phase.split,
        episodes=phase.episodes,
        tasks=task_cards(ledger, name, gallery, limits, around),
        classes=class_rows(ledger, name, gallery, limits),
        classes_in_all=classes_met(ledger, phase),
        pairs=pair_cards(ledger, name, gallery, limits),
        rounds=every_round[-limits.rounds :],
        rounds_in_all=len(every_round),
        confusion=_confusion(confusions(ledger, name), title, drawings),
        boosting=drawings.add(
            f"{title} rounds",
            lambda: round_weights.boosting(every_round, weights),
            "The measurements of each round"
            + ("; the bands show how far the boosting weights have drifted apart." if weights else "."),
            f"Accuracy and more over {len(every_round)} rounds",
        ),
        draw_share=drawings.add(
            f"{title} extra episodes",
            lambda: round_weights.draw_shares(shares) if shares else None,
            "Where the hard episodes went, beside what an even draw would have given.",
            f"Hard draws of {len(shares)} classes or groups",
        ),
        improvement=drawings.add(
            f"{title} improvement",
            lambda: changes.improvement(gains) if gains else None,
            "Accuracy before against after, of the tasks that were picked and of those that were not. What "
            "scored badly by bad luck scores better the next time, picked or not: regression to the mean.",
            "Accuracy before and after, picked against not picked",
        ),
        improvement_note=_note(gains) if gains else None,
        neighbourhoods=neighbourhood_cards(around[: limits.tasks], gallery, limits),
        learned=neighbourhood_cards(learned_since(around, limits.tasks // 2), gallery, limits),
        class_map=_map(
            f"{title} class map",
            lambda: class_map(ledger, name, around),
            "Each point is a neighbourhood, by the accuracy of the task that each round solves of it."
            if around
            else "Each point is a class, by its recall in the episodes of each round.",
            drawings,
        ),
        pair_map=_map(
            f"{title} pair map",
            lambda: pair_map(ledger, name),
            "Each point is one of the most confused pairs, by its confusion in the episodes of each round.",
            drawings,
        ),
    )


def _confusion(found: Confusions | None, title: str, drawings: Drawings) -> Drawing | None:
    if found is None:
        return None
    kind = "groups" if found.by_group else "classes"
    return drawings.add(
        f"{title} confusion",
        lambda: confusion.heat_map(found),
        "Mean probability that queries of the row got for the column. "
        f"{kind.capitalize()} that are taken for each other are neighbours. "
        "Small shares are coloured more than in proportion, as the scale above shows.",
        f"Heat map of the confusion between {len(found.names)} {kind}",
    )


def _map(name: str, find: Callable[[], DataMap | None], points: str, drawings: Drawings) -> Drawing | None:
    def draw() -> Figure | None:
        found = find()
        return None if found is None else data_map.data_map(found)

    return drawings.add(name, draw, points, f"Data map. {points}")


def _note(found: Improvement) -> str:
    """What the tasks of an evaluation gained, and that none of it was learned."""
    note = (
        f"Where a task was picked ({len(found.picked):,} times) its accuracy then changed by "
        f"{_points(found.gain_picked)} points, where it was not ({len(found.others):,} times) by "
        f"{_points(found.gain_others)}."
    )
    if found.at_equal_start is not None:
        note += f" From the same start the picked won {_points(found.at_equal_start)} points over the others."
    return note + " Nothing was trained in between, so that all of it is regression to the mean."


def _points(gain: tuple[float, float]) -> str:
    mean, half = gain
    return f"{100 * mean:+.1f} ± {100 * half:.1f}".replace("-", "−")
