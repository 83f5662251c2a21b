"""Scoring a run on one-shot trials that others were scored on: Lake et al., Science 2015.

python run_meta.py evaluate --config configs/omniglot_lake.yaml --trials all_runs.zip
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch

from mtl.config import Config
from mtl.data.one_shot_trials import Trials, read_trials
from mtl.data.own_picture import Change, change_messages
from mtl.data.prefetch import prepare_images
from mtl.data.variants import variants_of
from mtl.evaluation.evaluate import read_checkpoints
from mtl.evaluation.results import TrialScore
from mtl.own_images.embedder import Embedder, embedder_of_run
from mtl.runtime.outputs import replace_text
from mtl.runtime.progress import Count, tell
from mtl.runtime.run_folder import RunFolder
from mtl.stats import mean_interval

_VINYALS = (
    "--trials: with data.split = vinyals the run was trained on characters of these trials, which are of the "
    "evaluation alphabets; data.split = lake keeps them apart"
)


def score_trials(config: Config, place: Path) -> TrialScore:
    """The run's error in the trials of an archive or a folder, also written into its results.json.

    Every run of trials is one episode: its classes, with one support image each, and its test drawings, all
    brought to ink and size of the training images.

    Raises:
        UserError: the archive is not complete, or the run has no network for single images.
    """
    folder = RunFolder.of(config)
    with folder.held("evaluate --trials"):
        before, *_ = read_checkpoints(folder, config)
        runs = read_trials(place)
        embedder = embedder_of_run(folder.path, config.runtime)
        wanted = variants_of(config)
        prepared = replace(embedder.preparation, variants=wanted)
        embedder = replace(embedder, preparation=prepared)
        for way in {len(run.training) for run in runs}:
            embedder.require_way(way)
        if config.data.name == "omniglot" and config.data.split == "vinyals":
            tell(_VINYALS, config.log)
        changes: list[Change] = []
        errors: dict[str, float] = {}
        with Count("trials", len(runs), config.log) as count:
            for run in runs:
                errors[run.name] = error_in(run, embedder, changes)
                count.add(1)
        for sentence in change_messages(changes, prepared.ink, prepared.top, "drawing"):
            tell(sentence, config.log)
        mean, half = mean_interval([*errors.values()])
        trials = sum(len(run.test) for run in runs)
        score = TrialScore(mean, half, trials, max(len(run.training) for run in runs), errors)
        replace_text(
            folder.results, json.dumps({**before, "run": config.run, "trials": asdict(score)}, indent=1)
        )
    return score


def error_in(run: Trials, embedder: Embedder, changes: list[Change]) -> float:
    """The share of wrong answers in one run; `changes` is extended by what is done to each drawing."""
    p, way = embedder.preparation, len(run.training)
    batches = prepare_images((*run.training, *run.test), p.size, p.grayscale, 32, p.ink, p.top, changes)
    features = torch.cat([embedder(images) for images in batches])
    head = embedder.base_learner.classifier(features[None, :way], torch.arange(way)[None], way)
    logits = head(embedder.base_learner.transform_queries(features[way:])[None])[0]
    return float((logits.argmax(-1) != torch.tensor(run.labels)).double().mean())
