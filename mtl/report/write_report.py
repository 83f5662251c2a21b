"""One page that shows what was hard, of one run or of several.

    python run_meta.py report checkpoints/omniglot

Reads the files of the runs, and their images where these are available; writes report.html, which needs
nothing else: no network, no server.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from mtl.config import Config
from mtl.data.image_set import fingerprint
from mtl.errors import UserError
from mtl.evaluation.evaluate import scored_sets
from mtl.evaluation.results import trials_text
from mtl.ledger.queries import confused_pairs, split_name
from mtl.ledger.store import Ledger, Phase
from mtl.report.cards import Gallery, Limits
from mtl.report.contents import Drawing, PhaseReport, Report, RunReport
from mtl.report.drawings import Drawings
from mtl.report.figures import curves, space
from mtl.report.layout import render
from mtl.report.phase_section import phase_report
from mtl.report.run_files import (
    STAGES,
    RunFiles,
    config_text,
    environment,
    facts,
    progress,
    read_run,
)
from mtl.report.scores import compare_runs, setting_results
from mtl.runtime.devices import choose_device, settle_precision
from mtl.runtime.events import write_figures
from mtl.runtime.outputs import replace_text
from mtl.runtime.progress import Count, tell
from mtl.runtime.run_folder import RunFolder
from mtl.training.run_data import RunData, load_run_data

MOST_BYTES = 3_000_000
_FIRST = "meta-train"  # the phase that is shown in full; others are shown in brief
_FEWER = "Of several runs each is shown with fewer tasks, classes, pairs and pictures than in its own report."
_NO_FIGURES = (
    "The figures of single phases and of the feature space are left out to keep the page small; the report "
    "of each run by itself has them, and --png writes them all."
)


@dataclass(frozen=True)
class Images:
    """The image sets that the ledger's indices speak of, by the ledger's names of splits."""

    run_data: RunData | None
    galleries: dict[str, Gallery]
    fingerprints: dict[str, str]
    missing: tuple[str, ...]  # why there are none, or not all

    def gallery(self, phase: Phase, run: RunFiles, missing: list[str]) -> Gallery:
        """The images of a phase; none, and a sentence in `missing`, where those here are not the run's."""
        gallery = self.galleries.get(phase.split, Gallery(None))
        if gallery.images is None or run.images.get(phase.split) == self.fingerprints[phase.split]:
            return gallery
        missing.append(f"Pictures of {phase.name} are left out: the images are not those of the run.")
        return Gallery(None)


def report(folders: Sequence[Path], out: Path | None = None, png: Path | None = None) -> Path:
    """Writes the report of one run, or of several with the others compared with the first.

    Args:
        folders: of the runs.
        out: the page; None: report.html in the first folder.
        png: a folder for each figure as PNG and SVG; None: no such files.

    Raises:
        UserError: there is no such run, one is given twice, a file of one is damaged, or the page cannot be
            written.
    """
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f"report: {folder} is given twice")
    runs = distinct_names([read_run(folder) for folder in folders])
    path = out or runs[0].folder.report
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not a file; --out says where else the report may go")
    page, drawings = _page(runs, [find_images(run) for run in runs])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, page)
    except OSError as error:
        raise UserError(f"{path}: the report cannot be written ({error.strerror})") from None
    if png is not None:
        drawings.write(png)
    return path


def distinct_names(runs: Sequence[RunFiles]) -> list[RunFiles]:
    """The runs, those that share a name under the names of their folders instead."""
    names = [run.name for run in runs]
    return [run if names.count(run.name) == 1 else replace(run, called=str(run.folder.path)) for run in runs]


def _page(runs: Sequence[RunFiles], images: Sequence[Images]) -> tuple[str, Drawings]:
    """The page, with as much of each run as keeps it small, and its figures."""
    limits, drawings = limits_for(len(runs)), Drawings()
    while True:
        drawings.again()
        shown = contents(runs, images, drawings, limits)
        page = render(shown)
        least = limits == limits.smaller()
        if _too_large(page) and (least or len(runs) > 1):  # of several, the comparison matters most
            page = render(without_figures(shown))
        if least or not _too_large(page):
            return page, drawings
        limits = limits.smaller()


def _too_large(page: str) -> bool:
    return len(page.encode()) > MOST_BYTES


def limits_for(runs: int) -> Limits:
    """How much of each of several runs is shown: half as much whenever their number doubles."""
    limits = Limits()
    for _ in range((runs - 1).bit_length()):
        limits = limits.smaller()
    return limits


def without_figures(report: Report) -> Report:
    """The report with only curves and comparisons as figures."""
    runs = []
    for run in report.runs:
        phases = [
            replace(
                phase, confusion=None, boosting=None, draw_share=None, improvement=None, class_map=None,
                pair_map=None,
            )
            for phase in run.phases
        ]  # fmt: skip
        runs.append(replace(run, phases=phases, space=None))
    return replace(report, runs=runs, notes=(*report.notes, _NO_FIGURES))


def figures_to_events(config: Config) -> None:
    """Writes the figures of a run that has been evaluated into its event files for TensorBoard."""
    run, drawings = read_run(RunFolder.of(config).path), Drawings()
    run_report(run, find_images(run), drawings, Limits())
    write_figures(run.folder.path, drawings.figures, config.meta.steps)


def contents(
    runs: Sequence[RunFiles], images: Sequence[Images], drawings: Drawings, limits: Limits
) -> Report:
    """Everything that the page shows."""
    title = "Hard tasks of " + ", ".join(run.name for run in runs)
    if len(runs) == 1:
        return Report(title, [run_report(runs[0], images[0], drawings, limits)])
    reports = []
    for number, (run, of_run) in enumerate(zip(runs, images, strict=True), 1):
        tell(f"report: {run.name}, {number} of {len(runs)}")
        reports.append(run_report(run, of_run, drawings, limits))
    return Report(title, reports, compare_runs(runs, drawings), (_FEWER,))


def run_report(run: RunFiles, images: Images, drawings: Drawings, limits: Limits) -> RunReport:
    """One run: its results, its curves, and each phase of its ledger."""
    phases: list[PhaseReport] = []
    missing, feature_space = list(images.missing), None
    if run.folder.ledger.exists():
        with (
            Ledger.read(run.folder.ledger) as ledger,
            Count(f"report of {run.name}", len(ledger.phases()) + 1, run.config.log) as count,
        ):
            for phase in ledger.phases():
                gallery = images.gallery(phase, run, missing)
                of_phase = limits if phase.name == _FIRST else limits.smaller()
                phases.append(phase_report(ledger, phase, gallery, drawings, run.name, of_phase))
                count.add(1)
            feature_space = _space(run, images, ledger, drawings)
    else:
        missing.append("There is no log of hard tasks: no stage that solves episodes has begun.")
    base = run.base and (
        f"{100 * run.base['balanced']:.1f} % balanced accuracy on {run.base['images']:,} "
        "held-out images of the base classes."
    )
    return RunReport(
        name=run.name,
        progress=progress(run),
        facts=facts(run),
        settings=setting_results(run.results),
        base=base or None,
        trials=trials_text(run.trials) if run.trials else None,
        curves=[drawn for stage in STAGES if (drawn := _curves(run, stage, drawings)) is not None],
        phases=phases,
        space=feature_space,
        config=config_text(run.config),
        environment=environment(run),
        missing=missing,
    )


def find_images(run: RunFiles) -> Images:
    """The image sets of a run, nothing downloaded; those that are not available are left out, with a note."""
    config = run.config_here()
    config = replace(config, data=replace(config.data, download=False, cache=False))
    try:
        run_data = load_run_data(config)
    except UserError as error:
        return Images(None, {}, {}, (f"Pictures are left out: {error}",))
    split = config.evaluate.split
    found = {"train": run_data.splits.train, "val": run_data.splits.val, "test": run_data.splits.test}
    missing: tuple[str, ...] = ()
    try:
        for name, scored in scored_sets(config, run_data):
            found[split_name(split, name)] = scored.split(split)
    except UserError as error:
        missing = (f"Pictures of other image sets are left out: {error}",)
    return Images(
        run_data,
        {name: Gallery(images) for name, images in found.items()},
        {name: fingerprint(images) for name, images in found.items()},
        missing,
    )


def _curves(run: RunFiles, stage: str, drawings: Drawings) -> Drawing | None:
    return drawings.add(
        f"{run.name} {stage} curves",
        lambda: curves.training_curves({run.name: run.lines(stage)}),
        f"{stage.capitalize()}: loss and accuracy on training images, and accuracy on validation classes, "
        "which chooses the checkpoint.",
        f"Training curves of {stage}",
    )


def _space(run: RunFiles, images: Images, ledger: Ledger, drawings: Drawings) -> Drawing | None:
    """The novel classes that are confused most, in feature space."""
    split = run.config.evaluate.split
    run_data = images.run_data
    if run_data is None or run.images.get(split) not in {None, images.fingerprints[split]}:
        return None
    scored = [phase.name for phase in ledger.phases() if phase.split == split]
    wanted: list[str] = []
    if scored:
        wanted = [name for pair in confused_pairs(ledger, scored[0], space.CLASSES) for name in pair.classes]

    def draw() -> Figure | None:
        device = choose_device(settle_precision(run.config).runtime)
        found = space.project_features(run, run_data, device, split, wanted)
        return None if found is None else space.feature_space(found)

    return drawings.add(
        f"{run.name} feature space",
        draw,
        "Images of novel classes, most of them from confused pairs, laid out by t-SNE so that neighbours in "
        "the features are neighbours in the picture; distances between far groups mean nothing.",
        f"Features of {min(space.CLASSES, run_data.split(split).num_classes)} novel classes in the plane",
    )
