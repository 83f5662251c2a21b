"""One page that shows what was hard, of one run or of several.

    python run_meta.py report checkpoints/omniglot

Reads the files of the runs, and their images where they can be had; writes report.html, which needs nothing
else: no network, no server.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mtl.config import Config
from mtl.data.image_set import fingerprint
from mtl.errors import UserError
from mtl.evaluation.cross_domain import scored_sets
from mtl.ledger.queries import confused_pairs, split_name
from mtl.ledger.store import Ledger
from mtl.report.cards import Limits
from mtl.report.contents import Drawing, PhaseReport, Report, RunReport
from mtl.report.drawings import Drawings, limits_for, noted, without_figures
from mtl.report.figures import curves, space
from mtl.report.page import render
from mtl.report.phase_section import phase_report
from mtl.report.run_files import STAGES, RunFiles, at_home, config_text, environment, facts, read_run, told
from mtl.report.scores import setting_results
from mtl.report.side_by_side import side_by_side
from mtl.report.thumbnails import Gallery
from mtl.report.tsne import CLASSES, feature_space
from mtl.runtime.devices import choose_device, settle_precision
from mtl.runtime.events import write_figures
from mtl.runtime.outputs import replace_text
from mtl.runtime.progress import tell
from mtl.runtime.run_folder import RunFolder
from mtl.training.run_data import RunData, load_run_data

MOST_BYTES = 3_000_000
_FIRST = "meta-train"  # the phase that is shown in full; others are shown in brief


@dataclass(frozen=True)
class Images:
    """The image sets that the ledger's indices speak of, by the ledger's names of splits."""

    run_data: RunData | None
    galleries: dict[str, Gallery]
    fingerprints: dict[str, str]
    missing: tuple[str, ...]  # why there are none, or not all


def report(folders: Sequence[Path], out: Path | None = None, png: Path | None = None) -> Path:
    """Writes the report of one run, or of several with the others held against the first.

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
    runs = told_apart([read_run(folder) for folder in folders])
    images = [find_images(run) for run in runs]
    path = out or runs[0].folder.report
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is there and no file; --out says where else the report may go")
    limits = limits_for(len(runs))
    while True:
        drawings = Drawings()
        found = noted(contents(runs, images, drawings, limits))
        page = render(found)
        least = limits == limits.smaller()
        if _too_large(page) and (least or len(runs) > 1):  # of several, the comparison is what is looked for
            page = render(without_figures(found))
        if least or not _too_large(page):
            break
        limits = limits.smaller()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, page)
    except OSError as error:
        raise UserError(f"{path}: the report cannot be written ({error.strerror})") from None
    if png is not None:
        drawings.write(png)
    return path


def _too_large(page: str) -> bool:
    return len(page.encode()) > MOST_BYTES


def told_apart(runs: Sequence[RunFiles]) -> list[RunFiles]:
    """The runs, those of one name by their folders instead."""
    names = [run.name for run in runs]
    return [run if names.count(run.name) == 1 else replace(run, called=str(run.folder.path)) for run in runs]


def figures_to_events(config: Config) -> None:
    """Writes the figures of a run that has been evaluated into its event files for TensorBoard."""
    run, drawings = read_run(RunFolder.of(config).path), Drawings()
    run_report(run, find_images(run), drawings, Limits())
    write_figures(run.folder.path, drawings.figures, config.meta.steps)


def contents(
    runs: Sequence[RunFiles], images: Sequence[Images], drawings: Drawings, limits: Limits
) -> Report:
    """Everything that the page shows."""
    told_of = []
    for number, (run, own) in enumerate(zip(runs, images, strict=True), 1):
        if len(runs) > 1:
            tell(f"report: {run.name}, {number} of {len(runs)}")
        told_of.append(run_report(run, own, drawings, limits))
    title = "Hard tasks of " + ", ".join(run.name for run in runs)
    return Report(title, told_of, side_by_side(runs, drawings) if len(runs) > 1 else None)


def run_report(run: RunFiles, images: Images, drawings: Drawings, limits: Limits) -> RunReport:
    """One run: its results, its curves, and each phase of its ledger."""
    phases: list[PhaseReport] = []
    missing, layout = list(images.missing), None
    if run.folder.ledger.exists():
        with Ledger.read(run.folder.ledger) as ledger:
            for phase in ledger.phases():
                gallery = images.galleries.get(phase.split)
                if gallery is not None and run.images.get(phase.split) != images.fingerprints[phase.split]:
                    what = "the images that are there are not those of the run"
                    if phase.split not in run.images:
                        what = "its ledger is of a format that does not say which images they were"
                    missing.append(f"Pictures of {phase.name} are left out: {what}.")
                    gallery = None
                own = limits if phase.name == _FIRST else limits.smaller()
                phases.append(phase_report(ledger, phase, gallery, drawings, run.name, own))
            layout = _space(run, images, ledger, drawings)
    else:
        missing.append("There is no log of hard tasks: no stage that solves episodes has begun.")
    base = run.base
    return RunReport(
        name=run.name,
        told=told(run),
        facts=facts(run),
        settings=setting_results(run.results),
        base=None
        if base is None
        else f"{100 * base['balanced']:.1f} % balanced accuracy on {base['images']:,} "
        "held-out images of the base classes.",
        curves=[drawn for stage in STAGES if (drawn := _curves(run, stage, drawings)) is not None],
        phases=phases,
        space=layout,
        config=config_text(run.config),
        environment=environment(run),
        missing=missing,
    )


def find_images(run: RunFiles) -> Images:
    """The image sets of a run, nothing downloaded; what cannot be had is left out, and said."""
    made_in = [str(payload.get("made_in", "")) for payload in run.ended.values()]
    config = at_home(run.config, run.folder.path, made_in)
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
    lines = [line for line in run.metrics if line.get("stage") == stage]
    return drawings.add(
        f"{run.name} {stage} curves",
        curves.training_curves({run.name: lines}, stage) if lines else None,
        f"{stage.capitalize()}: loss and accuracy on training images, and accuracy on validation classes, "
        "which chooses the checkpoint.",
        f"Training curves of {stage}",
    )


def _space(run: RunFiles, images: Images, ledger: Ledger, drawings: Drawings) -> Drawing | None:
    """The novel classes that are confused most, in feature space."""
    config: Config = run.config
    split = config.evaluate.split
    if images.run_data is None or run.images.get(split) not in {None, images.fingerprints[split]}:
        return None
    scored = [phase.name for phase in ledger.phases() if phase.split == split]
    wanted: list[str] = []
    if scored:
        wanted = [name for pair in confused_pairs(ledger, scored[0], CLASSES) for name in pair.classes]
    device = choose_device(settle_precision(config).runtime)
    found = feature_space(run, config, images.run_data, device, split, wanted)
    if found is None:
        return None
    return drawings.add(
        f"{run.name} feature space",
        space.feature_space(found.before, found.after, found.labels, found.names),
        "Images of novel classes, most of them from confused pairs, laid out by t-SNE so that neighbours in "
        "the features are neighbours in the picture; distances between far groups mean nothing.",
        f"Features of {len(found.names)} novel classes in the plane",
    )
