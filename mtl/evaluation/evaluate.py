"""Evaluation: N-way K-shot accuracy on classes that no training has seen.

    python run_meta.py evaluate --config configs/omniglot.yaml evaluate.settings='[[20,1],[20,5]]'

Scores the checkpoint that validation chose, and baselines, on the same fixed tasks. Writes results.json, the
tasks and what became of the worst of them into hard_tasks.sqlite, and calibration.json, with which prediction
on other images begins.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mtl.config import Config
from mtl.config.schema import ClassNames, ScoredSet
from mtl.data import ImageSet
from mtl.data.class_tree import is_undivided
from mtl.data.sources.multi_dataset import load_matching
from mtl.episodes.episode import EpisodeShape
from mtl.errors import UserError, one_line
from mtl.evaluation.base_classes import base_accuracy
from mtl.evaluation.baselines import Baseline, baselines
from mtl.evaluation.calibrate import calibrate
from mtl.evaluation.resample import Scored, resample_worst
from mtl.evaluation.results import Setting, read_results, score, write_results
from mtl.ledger.queries import split_name
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device, recorded_precision, settle_precision
from mtl.runtime.events import require_tensorboard
from mtl.runtime.progress import Count, tell
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.world import ALONE, World
from mtl.training.meta_train import meta_train
from mtl.training.meta_train_state import STAGE as META_TRAIN
from mtl.training.pretrain import STAGE as PRETRAIN
from mtl.training.pretrain import pretrain
from mtl.training.restore import pretrained_network, read_pretrained
from mtl.training.run_data import RunData, load_run_data, require_scored
from mtl.training.stage import open_ledger, register


def run(config: Config, resume: bool = False, world: World = ALONE) -> list[Setting]:
    """All stages of a run: pretrains, meta-trains and evaluates.

    With `resume`, stages that have ended are left alone and one that was begun goes on. `world` is of the
    processes that train together.

    Raises:
        UserError: before anything is written, for mistakes of the user.
    """
    folder = RunFolder.of(config)
    with folder.held("run"):
        if not resume:
            for stage in (PRETRAIN, META_TRAIN):
                world.from_first(partial(folder.refuse_existing, stage))
        require_tensorboard(config.log)
        run_data = load_run_data(config, world)
        pretrain(config, resume, run_data, world)
        # What pretraining has chosen, and said, holds for all stages.
        chosen = world.from_first(lambda: recorded_precision(checkpoints.read(folder.pretrain)))
        config = replace(config, runtime=replace(config.runtime, precision=chosen))
        meta_train(config, resume, run_data, world=world)
        return evaluate(config, run_data, world)


def evaluate(config: Config, run_data: RunData | None = None, world: World = ALONE) -> list[Setting]:
    """Scores every setting of `evaluate.settings`.

    Args:
        config: of the run. Without a meta.pt in its folder the pretrained backbone is scored alone.
        run_data: the image set, where the caller has it already.
        world: the processes that evaluate together.

    Raises:
        UserError: nothing is pretrained, checkpoints do not fit the config, or a split is too small.
    """
    folder = RunFolder.of(config)
    with folder.held("evaluate"):
        return _evaluate(folder, config, run_data, world)


def _evaluate(folder: RunFolder, config: Config, run_data: RunData | None, world: World) -> list[Setting]:
    require_tensorboard(config.log)
    before, pretrained, meta = world.from_first(partial(read_checkpoints, folder, config))
    config = settle_precision(config, recorded_precision(meta or pretrained))
    device = choose_device(config.runtime, world)
    run_data = run_data or load_run_data(config, world)
    settings = []
    with open_ledger(folder, world) as ledger:
        for name, scored in scored_sets(config, run_data, world):
            solvers = baselines(config, scored, device, pretrained, meta)
            register(ledger, split_name(config.evaluate.split, name), scored.split(config.evaluate.split))
            settings += [
                score_setting(config, scored, solvers, shape, ledger, name)
                for shape in config.evaluate.settings
            ]
        ledger.commit(ledger.token() or "evaluate")
    calibrate(config, run_data, device, pretrained, meta)
    base = None
    if len(run_data.held_out) and "classifier" in pretrained:  # there is none without pretraining
        network = pretrained_network(pretrained, config, run_data.splits.train)
        device.place(network)
        base = base_accuracy(network, run_data, device)
        tell(f"base classes, {base}")
    write_results(folder.results, config.run, settings, before, base)
    return settings


def read_checkpoints(
    folder: RunFolder, config: Config
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """The results so far, and what pretraining and meta-training left; all is checked before the work."""
    before = read_results(folder.results)
    pretrained = read_pretrained(folder, config)
    folder.require_recorded(pretrained)
    if not folder.meta.exists():
        return before, pretrained, None
    meta = checkpoints.read(folder.meta)
    checkpoints.require_fit(folder.meta, meta, config, ("data", "backbone", "meta"))
    folder.require_recorded(meta)
    return before, pretrained, meta


def score_setting(
    config: Config,
    run_data: RunData,
    solvers: Sequence[Baseline],
    shape: tuple[int, int],
    ledger: Ledger,
    name: str | None,
) -> Setting:
    """The learner and all baselines on the fixed tasks of one setting, and what becomes of the worst tasks.

    Args:
        solvers: the learner first.
        shape: way and shot.
        name: of the image set, where it is not the run's own.
    """
    cfg, (way, shot) = config.evaluate, shape
    episodes = run_data.fixed_episodes(
        cfg.split, EpisodeShape(way, shot, cfg.queries), cfg.tasks, config.seed, "evaluate", cfg.within_group
    )
    outcomes = []
    with Count(f"tasks, {way}-way {shot}-shot", cfg.tasks * len(solvers), config.log) as count:
        for solver in solvers:
            outcomes.append(solver.solve(episodes))
            count.add(cfg.tasks)
    first, class_names = outcomes[0], run_data.split(cfg.split).class_names
    scores = [
        replace(
            score(solver.name, episodes, outcome, None if outcome is first else first, class_names),
            transductive=solver.transductive,
        )
        for solver, outcome in zip(solvers, outcomes, strict=True)
    ]
    split = split_name(cfg.split, name)
    phase = f"evaluate {split} {way}-way {shot}-shot"
    ledger.clear(phase)
    ledger.append(phase, 0, 0, episodes, first, split)
    scored = Scored(solvers[0], episodes, first, run_data.index(cfg.split), phase, split)
    resampled = resample_worst(scored, config, ledger)
    return Setting(cfg.split, way, shot, cfg.queries, cfg.tasks, scores, resampled, name)


def scored_sets(config: Config, run_data: RunData, world: World = ALONE) -> list[tuple[str | None, RunData]]:
    """The image sets to score: the run's own, each of several, or others (across domains).

    Each by its name (None for the run's own), with the run_data whose scored split is that set's alone.
    Images of other sets are brought to the size, channels and normalisation of the training images.

    Raises:
        UserError: a set is not available, is too small, or holds a class that the run was trained on.
    """
    split = config.evaluate.split
    if config.evaluate.sets:
        return [(scored.label, _other(config, run_data, scored, world)) for scored in config.evaluate.sets]
    parts = run_data.split(split).by_domain()
    return [(name, _with(run_data, split, part)) for name, part in parts.items()] or [(None, run_data)]


def _other(config: Config, run_data: RunData, wanted: ScoredSet, world: World) -> RunData:
    splits, split = run_data.splits, config.evaluate.split
    try:
        with world.after_first_here():
            scored = _scored_split(config, splits.train, wanted)
        rest = (splits.train, splits.val if split == "test" else splits.test)
        twice = sorted(set(scored.class_names) & {name for part in rest for name in _bare_names(part)})
        if twice:
            more = f" (and {len(twice) - 1} more)" if len(twice) > 1 else ""
            raise UserError(
                f"class {one_line(twice[0])}{more} is in another split of the run's own images, so figures "
                "would not be those of novel classes; leave it out, or rename it if it is something else"
            )
        other = _with(run_data, split, scored)
        require_scored(config, other.splits)
    except UserError as error:
        raise UserError(f"evaluate.sets: {wanted.label}: {error}") from None
    return other


def _scored_split(config: Config, train: ImageSet, wanted: ScoredSet) -> ImageSet:
    """The novel classes of a set, like the training images; all classes of a folder that has no splits."""
    data, test = config.data, config.evaluate.split == "test"
    data = replace(data, image_size=train.size, grayscale=train.channels == 1)
    undivided = False
    if wanted.root is not None:
        data = replace(data, root=wanted.root, layout=wanted.layout, classes=ClassNames(), group_by=None)
        undivided = wanted.name == "image_folder" and is_undivided(Path(wanted.root), wanted.layout)
    found = load_matching(data, wanted.name, data.split_seed, log=config.log)
    return found.joined() if undivided else found.test if test else found.val


def _bare_names(images: ImageSet) -> set[str]:
    """Class names as their own image set has them."""
    if images.domains is None:
        return set(images.class_names)
    return {n.removeprefix(f"{d}/") for n, d in zip(images.class_names, images.domains, strict=True)}


def _with(run_data: RunData, split: str, images: ImageSet) -> RunData:
    """The run_data with other images in the scored split."""
    splits = run_data.splits
    changed = replace(splits, test=images) if split == "test" else replace(splits, val=images)
    return replace(run_data, splits=changed)
