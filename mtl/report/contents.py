"""What a report holds, ready to be laid out: rows of the ledger, thumbnails and drawn figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mtl.ledger.neighbourhoods import HardNeighbourhood
from mtl.ledger.queries import ConfusedPair, HardClass, HardTask
from mtl.ledger.store import RoundRow


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of one image of the data set."""

    source: str  # data: URI
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Drawing:
    """A figure of the page, and the name under which it is written as a file."""

    name: str  # stem of its files, unique within a report
    svg: str
    caption: str  # one or two sentences: what it shows, how to read it
    alt: str


@dataclass(frozen=True)
class SettingResults:
    """All baselines at one setting, the first of which is the run's own."""

    title: str  # "5-way 1-shot"
    setting: Mapping[str, Any]  # as results.json has it
    note: str | None  # what became of the worst tasks, in a sentence


@dataclass(frozen=True)
class ShownClass:
    """A class of a task: its support images and the recall of its queries."""

    name: str
    recall: float
    pictures: Sequence[Thumbnail]


@dataclass(frozen=True)
class WrongQuery:
    """A query that was taken for another class."""

    picture: Thumbnail | None
    own: str
    predicted: str
    confidence: float  # probability given to `predicted`


@dataclass(frozen=True)
class TaskCard:
    """One of the hardest tasks, and its worst episode."""

    task: HardTask
    history: Sequence[float | None]  # accuracy at each visit
    shown: Sequence[ShownClass]
    worst_accuracy: float  # of the episode that is shown
    worst_step: int | None  # of training, at which it was solved; None where nothing is trained
    worst_id: str  # the short id that `hard-tasks --task` takes
    wrong: Sequence[WrongQuery]
    more_wrong: int  # further wrong answers, not shown
    answers_known: bool  # False if the ledger has no single answers


@dataclass(frozen=True)
class NeighbourhoodCard:
    """A class with those that it is taken for."""

    row: HardNeighbourhood
    pictures: Sequence[Thumbnail]
    members: Sequence[Sequence[Thumbnail]]  # pictures of each of `row.members`


@dataclass(frozen=True)
class ClassRow:
    """A class over all tasks that it was drawn into."""

    row: HardClass
    trend: Sequence[float | None]  # recall over the phase
    pictures: Sequence[Thumbnail]


@dataclass(frozen=True)
class PairCard:
    """Two classes that were taken for each other."""

    pair: ConfusedPair
    first_pictures: Sequence[Thumbnail]
    second_pictures: Sequence[Thumbnail]


@dataclass(frozen=True)
class PhaseReport:
    """What one stage of a run wrote into the ledger."""

    title: str  # "meta-train", "evaluate test 5-way 1-shot"
    split: str
    episodes: int
    tasks: Sequence[TaskCard]
    classes: Sequence[ClassRow]
    classes_in_all: int
    pairs: Sequence[PairCard]
    rounds: Sequence[RoundRow]  # the last few
    rounds_in_all: int
    confusion: Drawing | None
    boosting: Drawing | None
    draw_share: Drawing | None
    improvement: Drawing | None
    improvement_note: str | None  # the finding, in a sentence or two
    neighbourhoods: Sequence[NeighbourhoodCard] = ()  # the hardest
    learned: Sequence[NeighbourhoodCard] = ()  # those that began low and rose most
    class_map: Drawing | None = None
    pair_map: Drawing | None = None


@dataclass(frozen=True)
class RunReport:
    """One run."""

    name: str
    progress: str  # what was run and how far it got, in a sentence or two
    facts: Sequence[tuple[str, str]]  # image set, backbone, method, ...: a word and its value
    settings: Sequence[SettingResults]
    base: str | None  # accuracy on held-out images of the base classes, in a sentence
    curves: Sequence[Drawing]  # of each stage
    phases: Sequence[PhaseReport]
    space: Drawing | None
    config: str  # YAML
    environment: Sequence[tuple[str, str]]
    missing: Sequence[str]  # what had to be left out and why, a sentence each
    trials: str | None = None  # errors in one-shot trials that others were scored on, in a sentence


@dataclass(frozen=True)
class RunDifference:
    """What another run has over the first at one setting."""

    setting: str
    run: str
    accuracy: float
    difference: float
    interval: float
    unpaired: str | None  # why the two were scored on different tasks; None: on the same

    @property
    def paired(self) -> bool:
        return self.unpaired is None


@dataclass(frozen=True)
class ClassChange:
    """A class's recall in the first run and in another."""

    setting: str
    run: str
    name: str
    before: float
    after: float
    apart: bool  # the 95 % intervals of the two recalls do not meet


@dataclass(frozen=True)
class Comparison:
    """Several runs, compared with the first."""

    first: str
    differences: Sequence[RunDifference]
    changes: Sequence[ClassChange]  # those that gained or lost most
    drawings: Sequence[Drawing]  # curves over each other, differences, changes
    notes: Sequence[str]  # e.g. why runs cannot be paired


@dataclass(frozen=True)
class Report:
    """The page."""

    title: str
    runs: Sequence[RunReport]
    comparison: Comparison | None = None
    notes: Sequence[str] = field(default_factory=tuple)
