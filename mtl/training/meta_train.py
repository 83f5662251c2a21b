"""Meta-training, with hard tasks found and resampled as it goes.

    python run_meta.py meta-train --config configs/omniglot.yaml

Starts from checkpoints/<run>/pretrain.pt. Writes meta.pt, the learner that did best on fixed tasks of the
validation classes, and hard_tasks.sqlite, the record of every episode and round.
"""

from typing import Any

import torch
from torch import Tensor

from mtl.config import Augment, Config
from mtl.episodes.episode import EpisodeBatch, Outcome, Round
from mtl.learners.types import Learner
from mtl.ledger.rows import HARD_ORIGINS
from mtl.ledger.store import Ledger
from mtl.losses import CrossEntropy
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.events import Events, require_tensorboard
from mtl.runtime.interrupt import StopRequest
from mtl.runtime.precision import recorded_precision, settle_precision
from mtl.runtime.progress import Means, Progress, tell
from mtl.runtime.run_folder import Clock, Metrics, RunFolder
from mtl.runtime.seeds import generator
from mtl.samplers import build_sampler, meta_steps
from mtl.samplers.objectives import build_objective
from mtl.training.inference import measure, solve_episodes, with_table
from mtl.training.ledger_rounds import bridge_gap, record_round, register, require_same_images, round_numbers
from mtl.training.meta_step import episode_images, meta_step, require_finite, set_rate, warm_up_cosine
from mtl.training.pretrain_batches import image_level
from mtl.training.restore import learner_from_pretrained, read_pretrained
from mtl.training.run_data import RunData, load_run_data

STAGE = "meta-train"
DECIDED_BY = checkpoints.DECIDING[STAGE]


def meta_train(
    config: Config,
    resume: bool = False,
    run_data: RunData | None = None,
    tables: dict[str, Tensor] | None = None,
) -> None:
    """Trains what `meta.train` names, episode by episode, and resamples the tasks that fail.

    Args:
        config: of the run.
        resume: go on where the files of the run say it stopped; a run that has ended is left as it is.
        run_data: the image set, where the caller has it already.
        tables: features (M, D) by a backbone that no training changes, by split and levels: what is missing
            is added, for the next call with the same checkpoint.

    Raises:
        UserError: before anything is written, for what the user can mend.
        RunStopped: the loss is no longer finite.
        Interrupted: after Ctrl-C, with checkpoint and ledger written.
    """
    folder = RunFolder.of(config)
    with folder.held(STAGE):
        _meta_train(folder, config, resume, run_data, tables)


def _meta_train(
    folder: RunFolder,
    config: Config,
    resume: bool,
    run_data: RunData | None,
    tables: dict[str, Tensor] | None,
) -> None:
    if not resume:
        folder.refuse_existing(STAGE)
    if folder.meta.exists():
        checkpoints.require_fit(folder.meta, checkpoints.read(folder.meta), config, DECIDED_BY)
        tell(f"{STAGE}: {folder.meta} is there, nothing is left to do", config.log)
        return
    require_tensorboard(config.log)
    pretrained = read_pretrained(folder, config, checkpoints.DECIDING["pretrain"])
    config = settle_precision(config, recorded_precision(pretrained))
    device = choose_device(config.runtime)
    run_data = run_data or load_run_data(config)
    train, how, steps = run_data.splits.train, config.meta, meta_steps(config)
    learner = learner_from_pretrained(pretrained, config, train, device)
    sampler = build_sampler(config, run_data.index("train"), train.groups, train.domain_ids())
    objective = build_objective(config.hard_tasks.objective, config.hard_tasks.tail)
    queries = None if how.examples.by == "all" else image_level(how.examples, CrossEntropy(), 1, None)
    parameters = learner.meta_parameters()
    optimizer = torch.optim.Adam(parameters, lr=how.lr, weight_decay=how.weight_decay, fused=True)
    pictures = run_data.split_images("train", device)
    val_pictures = run_data.split_images("val", device)
    val_episodes = run_data.fixed_episodes(
        "val",
        how.way,
        how.shot,
        how.queries,
        how.validate_tasks,
        config.seed,
        "validate",
        how.validate_within_group,
    )
    changes = config.data.augment if how.augment else Augment()
    if learner.backbone_frozen:
        tables = {} if tables is None else tables
        val_pictures = with_table(learner, val_pictures, tables, f"val {how.head.levels}")
        key = f"train {how.head.levels}"
        pictures = with_table(learner, pictures, tables, key) if changes == Augment() else pictures

    with Ledger.open(folder.ledger) as ledger, StopRequest() as stop:
        saved = folder.unfinished(STAGE, ledger, config.log.allow_gaps)
        step, current_round, best, elapsed, kept = 0, 0, None, 0.0, None
        snapshots: list[dict[str, Any]] = []  # the learners of the last rounds
        means, hard = Means(), 0  # for the next line of metrics.jsonl; hard episodes so far
        if saved:
            checkpoints.require_fit(folder.last, saved, config, DECIDED_BY)
            require_same_images(ledger, "train", train)
            bridge_gap(ledger, STAGE, saved, train)
            checkpoints.tell_other_rounding(saved, device.computed_on())
            with checkpoints.restoring(folder.last):
                learner.load_state_dict(saved["learner"])
                optimizer.load_state_dict(saved["optimizer"])
                sampler.load_state_dict(saved["sampler"])
                if objective is not None:
                    objective.load_state_dict(saved["objective"])
                step, current_round, best = int(saved["step"]), saved["round"], saved["best"]
                elapsed, kept, snapshots = saved["elapsed"], saved["metrics"], saved["snapshots"]
                means, hard = Means(saved.get("means")), saved.get("hard", 0)  # which older checkpoints lack
        else:
            ledger.clear(STAGE)
            register(ledger, "train", train)
        folder.write_config(config)
        metrics, clock = (
            Metrics(folder.metrics, STAGE, kept),
            Clock(config.runtime.checkpoint_seconds, elapsed),
        )
        header = checkpoints.header(config, STAGE, train.class_names)

        def state() -> dict[str, Any]:
            return {
                **header,
                "computed_on": device.computed_on(),
                "step": step,
                "round": current_round,
                "learner": learner.state_dict(),
                "optimizer": optimizer.state_dict(),
                "sampler": sampler.state_dict(),
                "objective": None if objective is None else objective.state_dict(),
                "best": best,
                "snapshots": snapshots,
                "elapsed": clock.elapsed,
                "metrics": metrics.size,
                "means": means.state_dict(),
                "hard": hard,
            }

        def weigh(losses: Tensor) -> Tensor:
            """How much each task of a meta-batch counts (T,), from its loss (T,)."""
            weights = sampler.task_weights(losses)
            return weights if objective is None else weights * objective.task_weights(losses)

        def note_round(ended: Round) -> None:
            """Writes a round down, and keeps the learner as it stands if it may vote later."""
            nonlocal current_round
            current_round = ended.number
            record_round(ledger, STAGE, "train", step, ended)
            events.write(step + 1, round_numbers(ended))  # of the update under way, as the round is
            if config.hard_tasks.snapshots:
                kept = {"step": step, "alpha": ended.alpha, "learner": weights_of(learner)}
                snapshots[:] = [*snapshots, kept][-config.hard_tasks.snapshots :]

        def measure_for_sampler() -> None:
            """What the sampler requests before this step, if anything; meta-tested episodes end a round."""
            request = sampler.request(step)
            if request is None:
                return
            measured = measure(learner, pictures, request)
            ended = sampler.receive(request, measured)
            if ended is not None:
                if isinstance(request, EpisodeBatch) and isinstance(measured, Outcome):
                    ledger.append(STAGE, ended.number, step, request, measured, "train")
                note_round(ended)

        def validated(best: dict[str, Any] | None, **numbers: float) -> dict[str, Any]:
            """The best learner so far, the present one included."""
            solved = solve_episodes(learner, val_pictures, val_episodes)
            score = float(solved.accuracy.mean())
            line = {**numbers, "val": score, "seconds": clock.elapsed}
            metrics.write(step=step, **line)
            events.write(step, line)
            progress.say(f"step {step}/{steps}: val {how.way}-way {how.shot}-shot {100 * score:.2f}")
            if best is not None and score <= best["score"]:
                return best
            return {"score": score, "step": step, "learner": weights_of(learner)}

        with (
            Progress(STAGE, steps, step, config.log) as progress,
            Events(folder.path, STAGE, step, config.log) as events,
        ):
            if best is None:  # training has to beat its start
                best = validated(best)
            while step < steps:
                measure_for_sampler()
                batch = sampler.draw(how.tasks)
                rate = how.lr * warm_up_cosine(step, steps, warm_up=0.0)
                set_rate(optimizer, rate)
                learner.set_mode(training=True, random=generator(config.seed, "noise", step))
                random = generator(config.seed, "episode images", step)
                images = episode_images(batch, pictures, changes, random)
                outcome = meta_step(
                    learner,
                    optimizer,
                    images,
                    batch,
                    pictures.at_once,
                    weigh if sampler.has_task_weights or objective is not None else None,
                    queries,
                )
                loss, accuracy = float(outcome.loss.mean()), float(outcome.accuracy.mean())
                require_finite(loss, STAGE, step, "meta.lr", rate)

                ended = sampler.update(batch, outcome)
                ledger.append(STAGE, current_round, step, batch, outcome, "train")
                if ended is not None:
                    note_round(ended)
                step += 1
                chosen = sum(origin in HARD_ORIGINS for origin in batch.origin)
                hard += chosen
                means.add(loss=loss, accuracy=accuracy)
                progress.step(
                    images=batch.image_indices().numel(),
                    loss=loss,
                    accuracy=accuracy,
                    hard=f"{hard} (+{chosen})",
                    round=current_round,
                )

                if step % how.validate_every == 0 or step == steps:
                    best = validated(best, **means.take())
                if stop.wanted or clock.due():
                    folder.save(state(), ledger)
                stop.here(STAGE, step, steps)
        folder.save(state(), ledger)
    done = {"snapshots": snapshots, "normalise": pretrained["normalise"], "seconds": clock.elapsed}
    folder.finish(STAGE, {**header, **best, **done})


def weights_of(learner: Learner) -> dict[str, Tensor]:
    """A copy of the learner's state, on the CPU."""
    return {k: v.detach().cpu().clone() for k, v in learner.state_dict().items()}
