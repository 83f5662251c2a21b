"""Evaluation: N-way K-shot accuracy on classes that no training has seen.

    python run_meta.py evaluate --config configs/omniglot.yaml evaluate.settings='[[20,1],[20,5]]'

Scores the checkpoint that validation chose, and baselines beside it, on the same fixed tasks. Writes
results.json, the tasks and what became of the worst of them into hard_tasks.sqlite, and calibration.json,
with which prediction on other images begins.
"""

from collections.abc import Sequence

from mtl.config import Config
from mtl.evaluation.base_classes import base_accuracy, pretrained_network
from mtl.evaluation.baselines import Baseline, baselines
from mtl.evaluation.calibrate import calibrate
from mtl.evaluation.cross_domain import scored_sets
from mtl.evaluation.resample import resample_worst
from mtl.evaluation.results import Setting, score, write_results
from mtl.evaluation.results_file import read_results
from mtl.ledger.queries import split_name
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.events import require_tensorboard
from mtl.runtime.precision import recorded_precision, settle_precision
from mtl.runtime.progress import tell
from mtl.runtime.run_folder import RunFolder
from mtl.training.ledger_rounds import register
from mtl.training.restore import read_pretrained
from mtl.training.run_data import RunData, load_run_data


def evaluate(config: Config, run_data: RunData | None = None) -> list[Setting]:
    """Scores every setting of `evaluate.settings`.

    Args:
        config: of the run. Without a meta.pt in its folder the pretrained backbone is scored alone.
        run_data: the image set, where the caller has it already.

    Raises:
        UserError: nothing is pretrained, checkpoints do not fit the config, or a split is too small.
    """
    folder = RunFolder.of(config)
    with folder.held("evaluate"):
        return _evaluate(folder, config, run_data)


def _evaluate(folder: RunFolder, config: Config, run_data: RunData | None) -> list[Setting]:
    how = config.evaluate
    require_tensorboard(config.log)
    before = read_results(folder.results).get("settings", [])  # a damaged file is told before the work
    pretrained = read_pretrained(folder, config)
    folder.require_recorded(pretrained)
    meta = None
    if folder.meta.exists():
        meta = checkpoints.read(folder.meta)
        checkpoints.require_fit(folder.meta, meta, config, ("data", "backbone", "meta"))
        folder.require_recorded(meta)
    config = settle_precision(config, recorded_precision(meta or pretrained))
    device = choose_device(config.runtime)
    run_data = run_data or load_run_data(config)
    found = []
    with Ledger.open(folder.ledger) as ledger:
        for name, scored in scored_sets(config, run_data):
            against = baselines(config, scored, device, pretrained, meta)
            split = split_name(how.split, name)
            register(ledger, split, scored.split(how.split))
            found += [
                score_setting(config, scored, against, way, shot, ledger, split, name)
                for way, shot in how.settings
            ]
        ledger.commit(ledger.token() or "evaluate")
    calibrate(config, run_data, device, pretrained, meta)
    base = None
    if len(run_data.held_out) and "classifier" in pretrained:  # which older checkpoints lack
        network = pretrained_network(pretrained, config, run_data)
        device.place(network)
        base = base_accuracy(network, run_data, device)
        tell(f"base classes, {base}")
    write_results(folder.results, config.run, found, before, base)
    return found


def score_setting(
    config: Config,
    run_data: RunData,
    against: Sequence[Baseline],
    way: int,
    shot: int,
    ledger: Ledger,
    split: str,
    name: str | None,
) -> Setting:
    """All baselines on the fixed tasks of one setting, and what becomes of the worst tasks of the first.

    Args:
        split: what the ledger calls the split.
        name: of the image set, where not the run's own.
    """
    how = config.evaluate
    episodes = run_data.fixed_episodes(
        how.split, way, shot, how.queries, how.tasks, config.seed, "evaluate", how.within_group
    )
    outcomes = [c.solve(episodes) for c in against]
    first, class_names = outcomes[0], run_data.split(how.split).class_names
    scores = [
        score(c.name, episodes, o, None if o is first else first, class_names)
        for c, o in zip(against, outcomes, strict=True)
    ]
    phase = f"evaluate {split} {way}-way {shot}-shot"
    ledger.clear(phase)
    ledger.append(phase, 0, 0, episodes, first, split)
    again = resample_worst(
        against[0],
        episodes,
        first,
        run_data.index(how.split),
        how.resample,
        config.hard_tasks.boosting,
        config.seed,
        ledger,
        phase,
        split,
    )
    return Setting(how.split, way, shot, how.queries, how.tasks, scores, again, name)
