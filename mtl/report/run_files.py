"""The files of a run, and what they say about it in words; its images and networks are not read here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from mtl.config import Config, to_dict
from mtl.errors import UserError
from mtl.evaluation.results import read_results
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.tensor_files import misshapen

STAGES = ("pretrain", "meta-train")


class _Line(BaseModel):
    """What every line of metrics.jsonl has, beside measurements; those that are not numbers are not drawn."""

    stage: str
    step: Annotated[int, Field(ge=0, le=10**12)]


@dataclass(frozen=True)
class RunFiles:
    """A run folder, read."""

    folder: RunFolder
    config: Config
    metrics: list[dict[str, Any]]  # lines of metrics.jsonl
    results: list[dict[str, Any]]  # settings of results.json
    base: dict[str, Any] | None  # accuracy on held-out images of the base classes
    trials: dict[str, Any] | None  # errors in one-shot trials that others were scored on
    ended: Mapping[str, dict[str, Any]]  # checkpoints of the stages that have ended
    unfinished: tuple[str, int] | None  # a stage that was interrupted, or is going on, and its step
    images: Mapping[str, str]  # the fingerprint of each split that the ledger speaks of
    called: str | None = None  # where runs of a report have the same name

    @property
    def name(self) -> str:
        return self.called or self.config.run

    def lines(self, stage: str) -> list[dict[str, Any]]:
        """The measurements of one stage."""
        return [line for line in self.metrics if line["stage"] == stage]

    def config_here(self) -> Config:
        """The config with its image set found, wherever the working folder is (`at_home`)."""
        made_in = [str(payload.get("made_in", "")) for payload in self.ended.values()]
        return at_home(self.config, self.folder.path, made_in)


def read_run(path: Path) -> RunFiles:
    """Reads the folder of a run, however far it got.

    Raises:
        UserError: there is no such run, or a file of it is damaged.
    """
    folder = RunFolder(path)
    config = folder.read_config()
    results = read_results(folder.results)
    ended = {
        stage: checkpoints.read(folder.result_of(stage))
        for stage in STAGES
        if folder.result_of(stage).exists()
    }
    unfinished = _unfinished(folder)
    fingerprints: dict[str, str] = {}
    if folder.ledger.exists():
        with Ledger.read(folder.ledger) as ledger:
            fingerprints = ledger.images()
    return RunFiles(
        folder,
        config,
        _lines(folder.metrics) if folder.metrics.exists() else [],
        list(results.get("settings", [])),
        results.get("base"),
        results.get("trials"),
        ended,
        None if unfinished is None or unfinished[0] in ended else unfinished,  # a kill left its checkpoint
        fingerprints,
    )


def at_home(config: Config, folder: Path, made_in: Sequence[str] = ()) -> Config:
    """The config of a run with a relative `data.root` found from where the run was made, if it is there.

    That place is above the run folder where this still is `<place>/<checkpoints>/<run>`; else a checkpoint
    names it (`made_in`). Otherwise `data.root` stays as it is, and starts in the working folder.
    """
    root = Path(config.data.root).expanduser()
    if root.is_absolute():
        return config
    tail, whole = (Path(config.checkpoints) / config.run).parts, folder.resolve().parts
    places = [Path(*whole[: -len(tail)])] if whole[-len(tail) :] == tail else []
    places += [Path(place) for place in made_in if place]
    found = next((place / root for place in places if (place / root).exists()), None)
    return config if found is None else replace(config, data=replace(config.data, root=str(found)))


def config_text(config: Config) -> str:
    """The resolved config as YAML, without the sections that other commands use."""
    import yaml

    tree = to_dict(config)
    tree.pop("compare", None)
    return yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)


def progress(run: RunFiles) -> str:
    """How far a run got, in a sentence."""
    done = [
        word for stage, word in zip(STAGES, ("pretrained", "meta-trained"), strict=True) if stage in run.ended
    ]
    done += ["evaluated"] if run.results else []
    text = f"{', '.join(done).capitalize()}." if done else "No stage has ended."
    if run.unfinished is None:
        return text
    stage, step = run.unfinished
    of = f" of {run.config.meta.steps:,}" if stage == "meta-train" else ""
    return f"{text} {stage.capitalize()} is at step {step:,}{of}: interrupted, or still going on."


def facts(run: RunFiles) -> list[tuple[str, str]]:
    """The choices that a reader wants to know first."""
    c, hard, channels = run.config, run.config.hard_tasks, run.config.backbone.channels
    sampling = "none: tasks are drawn evenly"
    if hard.sampler != "uniform":
        sampling = f"{hard.sampler.replace('_', ' ')}, share {hard.share:g}"
    weights = {"head": "only the head", "all": "all weights", "ss": "scaling and shifting"}.get(
        c.meta.train, "scaling and shifting, and batch norm's own"
    )
    found = [
        ("Image set", c.data.name),
        ("Backbone", c.backbone.name + (f", {'-'.join(map(str, channels))} channels" if channels else "")),
        ("Pretraining", f"{_count(c.pretrain.epochs, 'epoch')}, batches of {c.pretrain.batch_size}"),
        (
            "Meta-training",
            f"{_count(c.meta.steps, 'step')} of {_count(c.meta.tasks, 'task')}, "
            f"{c.meta.way}-way {c.meta.shot}-shot, {weights}, {c.meta.head.name.replace('_', ' ')}",
        ),
        ("Hard tasks", sampling),
        ("Seed", str(c.seed)),
    ]
    for stage, payload in run.ended.items():
        minutes, seconds = divmod(round(float(payload["seconds"])), 60)
        time = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        best = f", best at step {payload['step']:,}" if "step" in payload else ""
        found.append((f"Time of {stage}", time + best))
    return found


def environment(run: RunFiles) -> list[tuple[str, str]]:
    """What it was trained with."""
    newest = next((run.ended[s] for s in reversed(STAGES) if s in run.ended), None)
    versions = newest["versions"] if newest else {}
    runtime = run.config.runtime
    return [
        *((name.capitalize(), str(version)) for name, version in versions.items()),
        ("Device", f"{runtime.device}, {runtime.precision}"),
    ]


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _unfinished(folder: RunFolder) -> tuple[str, int] | None:
    """Stage and step of the last checkpoint, which a stage that is going on may be replacing."""
    for path in (folder.last, folder.next, folder.last):
        if path.exists():
            try:
                last = checkpoints.read(path)
            except UserError:
                if path.exists():
                    raise
                continue
            return str(last["stage"]), int(last["step"])
    return None


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines; a stage that is going on may be writing the last.

    Raises:
        UserError: a line has other values than stages write.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            measured = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(measured, dict):
            if wrong := misshapen(measured, _Line):
                raise UserError(f"{path}: line {number} is damaged ({wrong}); take it out of the file")
            found.append(measured)
    return found
