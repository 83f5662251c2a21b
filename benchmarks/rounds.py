"""The hard tasks' share of meta-training: rounds, weights, draws and ledger, as by default and as shipped.

A round is a meta-test of a pool, and what is learned of it; or a look at the classes.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Row, median_seconds, told
from benchmarks.workload import CASES, TINY, Sampler, Workload, of_config, random_images, workload
from mtl.config import load_config
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.ledger.store import Ledger
from mtl.runtime.devices import settle_precision
from mtl.samplers.mixed import MixedSampler
from mtl.training.solve import measure
from mtl.training.stage import record_round

MOST = 5.0
CONFIGS = Path(__file__).parents[1] / "configs"
SHIPPED = {"quickstart": 1000, "omniglot": 4112}  # classes
SAMPLERS: tuple[Sampler, ...] = ("neighbours", "boosted", "boosted_pool")


def rows(quick: bool) -> Iterator[Row]:
    """A round every `hard_tasks.every` steps, and at every step draw, update and ledger."""
    for case in TINY if quick else CASES:
        for precision in case.precisions:
            for name in SAMPLERS:
                what, work = f"{case}, {precision}", workload(case, 1, precision, sampler=name)
                yield share(f"{what}: hard tasks' share, {name}", work, runs=max(1, case.pairs // 3))
    for config, classes in ({"quickstart": 70} if quick else SHIPPED).items():
        what = f"configs/{config}.yaml, {classes:,} classes: hard tasks' share"
        yield share(what, shipped(config, classes), runs=1 if quick else 5)


def shipped(name: str, classes: int) -> Workload:
    """Meta-training as a shipped config has it, on random images of a number of classes."""
    config = settle_precision(load_config(CONFIGS / f"{name}.yaml"))
    case = CASES[0]
    return of_config(config, case, *random_images(case, classes, per_class=20))


def share(what: str, work: Workload, runs: int) -> Row:
    """Seconds for hard tasks in a hundred seconds of meta-training."""
    hard, sampler = work.config.hard_tasks, work.sampler
    assert isinstance(sampler, MixedSampler)
    sampler.drawn = sampler.schedule.episodes // 2  # where the share of hard episodes is at its highest
    plain = CategoriesSampler.of(work.index, sampler.shape)
    tasks = work.config.meta.tasks
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger") as ledger:
        round_ = median_seconds(lambda: one_round(work, sampler, ledger), runs)
        batch, outcome = work.whole_step()
        whole = median_seconds(work.whole_step, 2 * runs)
        drawing = median_seconds(lambda: sampler.draw(tasks), 50)
        drawing -= median_seconds(lambda: plain.draw(tasks), 50)
        noting = median_seconds(
            lambda: ledger.append("steps", 0, 0, batch, outcome, "train"), 50
        ) + median_seconds(lambda: sampler.update(batch, outcome), 50)
    extra = round_ + hard.every * (drawing + noting)
    percent = 100 * extra / (round_ + hard.every * (whole + noting))
    figures = (
        f"every {hard.every} steps of {told(whole)} a round of {told(round_)}; "
        f"at each step {told(max(drawing, 0.0))} to draw, {told(noting)} to note"
    )
    return Row(what, percent, "%", MOST, True, figures)


def one_round(work: Workload, sampler: MixedSampler, ledger: Ledger) -> None:
    """As meta-training takes it: meta-test of the pool, new weights, and what is recorded of both."""
    request = sampler.request(0)
    assert request is not None
    measured = measure(work.learner, work.pictures, request)
    ended = sampler.receive(request, measured)
    if ended is None:
        return
    if isinstance(request, EpisodeBatch) and isinstance(measured, Outcome):
        ledger.append("meta-train", ended.number, 0, request, measured, "train")
    record_round(ledger, "meta-train", "train", 0, ended)
