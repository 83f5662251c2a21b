"""The hard tasks' share of meta-training: rounds, weights, draws and ledger, as by default and as shipped.

A round is a meta-test of a pool, and what is learned of it; or a look at the classes.
"""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.harness import Row, median_seconds, seconds, told
from benchmarks.large_set import Peak
from benchmarks.workload import CASES, TINY, Sampler, Workload, of_config, random_images, workload
from mtl.config import Config, HardTasks, load_config
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.ledger.store import Ledger
from mtl.runtime.devices import settle_precision
from mtl.runtime.seeds import generator
from mtl.samplers import build_sampler
from mtl.samplers.mixed import MixedSampler
from mtl.training.solve import measure
from mtl.training.stage import record_round

MOST = 5.0
PROJECT = Path(__file__).parents[1]
CONFIGS = PROJECT / "configs"
SHIPPED = (("quickstart", 1000), ("omniglot", 4112), ("omniglot", 21_000))  # and how many classes
CLASSES = (1000, 4112, 21_000)  # of rounds whose features are there
SAMPLERS: tuple[Sampler, ...] = ("neighbours", "boosted", "boosted_pool")


def rows(quick: bool) -> Iterator[Row]:
    """A round every `hard_tasks.every` steps, and at every step draw, update and ledger."""
    for case in TINY if quick else CASES:
        for precision in case.precisions:
            for name in SAMPLERS:
                what, work = f"{case}, {precision}", workload(case, 1, precision, sampler=name)
                yield share(f"{what}: hard tasks' share, {name}", work, runs=max(1, case.pairs // 3))
    for config, classes in (("quickstart", 70),) if quick else SHIPPED:
        what = f"configs/{config}.yaml, {classes:,} classes: hard tasks' share"
        yield share(what, shipped(config, classes), runs=1 if quick else 5)
    for classes in (50, 60) if quick else CLASSES:
        command = [sys.executable, "-m", "benchmarks.rounds", str(classes)]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
        for what, (value, unit) in json.loads(done.stdout).items():
            yield Row(f"boosted, {classes:,} classes, features given: {what}", value, unit, None)


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


def with_features(classes: int) -> dict[str, tuple[float, str]]:
    """The first round and later ones from features of 10 images, D = 640; what a checkpoint holds of them."""
    index = ClassIndex.of(torch.arange(classes).repeat_interleave(20))
    config = Config(hard_tasks=HardTasks(sampler="boosted"))
    sampler = build_sampler(config, index)
    features = torch.rand(10 * classes, 640, generator=generator(0, "features"))

    def one() -> None:
        request = sampler.request(0)
        assert isinstance(request, torch.Tensor)
        sampler.receive(request, features[: len(request)])

    with Peak() as peak:
        first = seconds(one)
        later = median_seconds(one, 3, warm_up=0)
    file = io.BytesIO()
    torch.save(sampler.state_dict(), file)
    return {
        "the first round": (first, "s"),
        "later rounds": (later, "s"),
        "the sampler's part of a checkpoint": (file.tell() / 1e9, "GB"),
        "anonymous memory of the process": (peak.most["RssAnon"], "GB"),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(with_features(int(sys.argv[1]))))
