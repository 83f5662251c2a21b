"""Meta-training, with hard tasks found and resampled on the way.

    python run_meta.py meta-train --config configs/omniglot.yaml

Starts from checkpoints/<run>/pretrain.pt. Writes meta.pt, the learner that did best on fixed tasks of the
validation classes, and hard_tasks.sqlite, the record of every episode and round.
"""

from dataclasses import replace
from functools import partial

from torch import Tensor

from mtl.config import Config, Log
from mtl.episodes.episode import EpisodeBatch, Outcome, Round
from mtl.learners import Learner
from mtl.ledger.rows import HARD_ORIGINS
from mtl.ledger.store import Ledger
from mtl.runtime.events import require_tensorboard
from mtl.runtime.process import StopRequest
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.runtime.world import ALONE, World, digest
from mtl.training.meta_train_state import STAGE, MetaTrainState
from mtl.training.restore import learner_from_pretrained, voting
from mtl.training.run_data import RunData
from mtl.training.solve import episode_images, measure, meta_step, solve_episodes
from mtl.training.stage import (
    StageLog,
    has_ended,
    open_ledger,
    record_round,
    require_finite,
    set_rate,
    weights_of,
)


def meta_train(
    config: Config,
    resume: bool = False,
    run_data: RunData | None = None,
    tables: dict[str, Tensor] | None = None,
    world: World = ALONE,
) -> None:
    """Trains what `meta.train` names, episode by episode, and resamples the tasks that fail.

    Args:
        config: of the run.
        resume: go on from the last checkpoint of the run; a stage that has ended is left as it is.
        run_data: the image set, where the caller has it already.
        tables: features (M, D) by a frozen backbone, by split and levels. Missing ones are added, for the
            next call with the same pretrained backbone.
        world: the processes that train together.

    Raises:
        UserError: before anything is written, for what the user can mend.
        RunStopped: the loss is no longer finite.
        Interrupted: after Ctrl-C, with checkpoint and ledger written.
    """
    folder = RunFolder.of(config)
    with folder.held(STAGE):
        if world.from_first(lambda: has_ended(folder, STAGE, config, resume)):
            return

        # Whatever can be refused is refused before anything is written.
        require_tensorboard(config.log)
        state = MetaTrainState(folder, config, run_data, tables, world)

        with open_ledger(folder, world) as ledger:
            state.load_or_begin(folder, ledger)
            folder.write_config(state.config)
            with StageLog.opened(folder, STAGE, state.steps, state) as log, StopRequest() as stop:
                # The start is a candidate as well: training has to beat it.
                if state.best is None:
                    validate(state, log)

                while not state.ended:
                    # Some samplers choose by the learner as it is now: they ask for a meta-test, which ends
                    # a round. Of several learners, one that has ended joins the vote with the α of its round,
                    # and the next begins afresh, on the tasks that those before it failed.
                    if state.learner_ended:
                        state.take_best()
                        meta_test(state, ledger, log)
                        state.next_learner()
                        if state.ended:
                            break
                        validate(state, log)
                    else:
                        meta_test(state, ledger, log)

                    # Randomness follows from step and sampler state: a resumed run draws the same.
                    batch = state.sampler.draw(config.meta.tasks)
                    random = generator(config.seed, "episode images", state.step)
                    state.learner.train(noise=state.noise(batch))
                    set_rate(state.optimizer, config.meta.lr * state.rate_factor())
                    outcome = meta_step(
                        state.learner,
                        state.optimizer,
                        episode_images(batch, state.train_images, state.changes, random),
                        batch,
                        state.train_images.at_once,
                        state.task_weights if state.has_task_weights else None,
                        state.query_loss,
                    )

                    # A diverged step must not reach the ledger or a checkpoint.
                    require_finite(float(outcome.loss.mean()), STAGE, state.step, "meta.lr", state.optimizer)

                    # The sampler learns from the outcome. A round that ends counts from the next step on.
                    ended = state.sampler.update(batch, outcome)
                    ledger.append(STAGE, state.round, state.step, batch, outcome, "train")
                    if ended is not None:
                        note_round(state, ended, ledger, log)
                    state.step += 1
                    note_step(state, batch, outcome, log)
                    if state.step % config.meta.validate_every == 0 or state.step % state.steps_each == 0:
                        validate(state, log, **state.means.take())

                    # Checkpoint and ledger are saved as one, so that a kill leaves them at the same step. All
                    # processes stop at the same one, and have drawn the same images so far.
                    stopping = world.agree(stop.wanted, digest(batch.image_indices()))
                    if stopping or log.clock.due():
                        state.save(folder, log, ledger)
                    stop.here(stopping, STAGE, state.step, state.steps)
                if state.members:
                    validate_vote(state, log)
            state.save(folder, log, ledger)
        folder.finish(STAGE, state.result(log))


def meta_test(state: MetaTrainState, ledger: Ledger, log: StageLog) -> None:
    """Solves the tasks, or takes the features of the images, that the sampler requests before a step."""
    request = state.sampler.request(state.step)
    if request is None:
        return
    # The first round may look at all images, before any step shows that training goes on.
    log_of = Log(quiet=True) if state.round else state.config.log
    measured = measure(state.learner, replace(state.train_images, log=log_of), request)
    ended = state.sampler.receive(request, measured)
    if ended is not None:
        if isinstance(request, EpisodeBatch) and isinstance(measured, Outcome):
            ledger.append(STAGE, ended.number, state.step, request, measured, "train")
        note_round(state, ended, ledger, log)


def note_round(state: MetaTrainState, ended: Round, ledger: Ledger, log: StageLog) -> None:
    """Records a round, and keeps a copy of the learner where it may vote later."""
    state.round, state.alpha = ended.number, None if ended.epsilon is None else ended.alpha
    record_round(ledger, STAGE, "train", state.step, ended)
    numbers = {
        "epsilon": ended.epsilon,
        "alpha": state.alpha,  # neither, where the sampler has no error
        "pool_accuracy": ended.accuracy,
        "hard_share": ended.hard_share,
    }
    log.events.write(state.step + 1, numbers)  # counted with the update under way
    wanted = state.config.hard_tasks.snapshots
    if wanted:
        snapshot = {"step": state.step, "alpha": ended.alpha, "learner": weights_of(state.learner)}
        state.snapshots = [*state.snapshots, snapshot][-wanted:]


def note_step(state: MetaTrainState, batch: EpisodeBatch, outcome: Outcome, log: StageLog) -> None:
    """Adds a step to the means of the next line of metrics.jsonl, and shows it."""
    loss, accuracy = float(outcome.loss.mean()), float(outcome.accuracy.mean())
    hard = sum(origin in HARD_ORIGINS for origin in batch.origin)
    state.hard += hard
    state.means.add(loss=loss, accuracy=accuracy)
    log.progress.step(
        images=batch.image_indices().numel(),
        loss=loss,
        accuracy=accuracy,
        hard=f"{state.hard} (+{hard})",
        round=state.round,
    )


def validate(state: MetaTrainState, log: StageLog, **means: float) -> None:
    """Scores the learner on the validation tasks, and keeps it where it is the best so far.

    `means` of loss and accuracy since the last validation go into the same line of metrics.jsonl.
    """
    score = _score(state, state.learner)
    line = {**means, "val": score, "seconds": log.clock.elapsed}
    log.measured(state.step, line, f"step {state.step}/{state.steps}: {_in_words(state, score)}")
    if state.best is None or score > state.best["score"]:
        state.best = {"score": score, "step": state.step, "learner": weights_of(state.learner)}


def validate_vote(state: MetaTrainState, log: StageLog) -> None:
    """Scores the vote of several learners on the validation tasks."""
    start = partial(learner_from_pretrained, state.pretrained, state.config, state.train, state.device)
    score = _score(state, voting(state.members, start))
    words = f"vote of {len(state.members)} learners: {_in_words(state, score)}"
    log.measured(state.step, {"vote": score, "seconds": log.clock.elapsed}, words)
    assert state.best is not None
    state.best = {**state.best, "score": score, "step": state.step}


def _score(state: MetaTrainState, learner: Learner) -> float:
    """Mean accuracy on the validation tasks."""
    return float(solve_episodes(learner, state.val_images, state.val_episodes).accuracy.mean())


def _in_words(state: MetaTrainState, score: float) -> str:
    return f"val {state.config.meta.way}-way {state.config.meta.shot}-shot {100 * score:.2f}"
