"""One training in several processes, started by torchrun, is the training of one process."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import trained_together
from ledger_digest import digest
from sampler_options import nested
from tiny_run import tiny_config

from mtl.config import load_config, to_yaml
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.training.meta_train import meta_train

SCRIPT = Path(trained_together.__file__)
ROOT = SCRIPT.parents[2]
STEPS = 20


class Launched:
    """A command that torchrun runs in some processes; to be used as a context, which ends all of them."""

    def __init__(self, world: int, log: Path, *command: str, **options) -> None:
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
        more = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        paths = f"{ROOT}{os.pathsep}{SCRIPT.parent}"
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, *launch, *more, *command],
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
                stdout=out,
                stderr=out,
            )

    def __enter__(self) -> "Launched":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            for pid in self.children():
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()

    def children(self) -> list[int]:
        of = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in Path(of).read_text().split()]

    def of_rank(self, rank: int) -> int:
        """The process id of one of them."""
        ranks = {pid: Path(f"/proc/{pid}/environ").read_text() for pid in self.children()}
        return next(pid for pid, variables in ranks.items() if f"\0RANK={rank}\0" in f"\0{variables}")

    def wait(self, seconds: float = 120) -> tuple[int, str]:
        """The exit code, and all that was printed."""
        return self.process.wait(seconds), self.log.read_text()

    def wait_for(self, path: Path, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not path.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)


def meta_cases():
    """Every value of what decides a step, each with others of the rest."""
    trains = ("ss", "ss_affine", "all", "head")
    norms = ("update", "frozen", "episode")
    heads = (
        {"name": "gradient_descent"},
        {"name": "prototype", "noise": 0.5},
        {"name": "ridge"},
        {"name": "logistic"},
    )
    samplers = (
        "uniform", "boosted", "boosted_pool", "meta_batch", "random_pool", "easy", "class_pair", "posterior",
        "learning_progress", "uniform_difficulty", "fisher", "neighbours", "self_paced",
    )  # fmt: skip
    objectives = ("mean", "ohem", "cvar")
    for i, sampler in enumerate(samplers):
        meta = {
            "train": trains[i % 4],
            "batch_norm": norms[(i + 1) % 2 if sampler in {"boosted", "fisher", "neighbours"} else i % 3],
            "head": heads[(i + i // 4) % 4],
            "augment": i % 2 == 0,
            "tasks": 1 + i % 5,
        }
        hard = nested(sampler, every=5, objective=objectives[i % 3], share=0.8)
        yield f"meta-train {sampler}", {"meta": meta, "hard_tasks": hard}
    yield (
        "meta-train exact",
        {
            "meta": {"train": "ss", "batch_norm": "frozen", "tasks": 5, "head": {"noise": 0.5}},
            "hard_tasks": {"sampler": "boosted", "every": 5, "objective": "cvar"},
            "runtime": {"ordered_sum": True},
        },
    )
    hardest = {"by": "hardest", "part": 0.5}
    by_query = {"train": "all", "batch_norm": "frozen", "examples": hardest, "tasks": 4}
    yield "meta-train by query", {"meta": by_query}
    yield "meta-train by query in parts", {"meta": by_query}
    yield "meta-train in parts", {"meta": {**by_query, "examples": {"by": "all"}, "head": {"noise": 0.5}}}
    yield (
        "meta-train learners",
        {"meta": {"train": "all", "learners": 2}, "hard_tasks": {"sampler": "boosted"}},
    )


def pretrain_cases():
    for by in ("all", "focal", "hardest", "self_paced", "influence"):
        more = {"alpha": 1.0} if by == "influence" else {}
        beside = {"rotation": {"share": 0.5}} if by == "focal" else {}
        yield f"pretrain {by}", {"pretrain": {"examples": {"by": by, **more}, **beside}}


WHOLE = {
    "meta": {"learners": 2, "steps": 8},
    "hard_tasks": {"sampler": "boosted", "every": 4},
    "data": {"probe_fraction": 0.3},
    "evaluate": {"mirror": True},
}
CASES = {**dict(itertools.chain(meta_cases(), pretrain_cases())), "run whole": WHOLE}
#: With three processes as well: shares of unequal size, and none.
OF_THREE = [*dict.fromkeys([*list(CASES)[::5], "meta-train exact", "meta-train by query in parts"])]
PAIRS = [(name, world) for world, names in ((2, CASES), (3, OF_THREE)) for name in names]


@pytest.fixture(scope="module")
def trained(image_root, pretrained, tmp_path_factory):
    """The run folder of each case, by the number of processes that trained it."""

    def prepare(world: int, below: Path) -> dict[str, RunFolder]:
        folders = {}
        for name, sections in CASES.items():
            if world == 3 and name not in OF_THREE:
                continue
            meta = {"steps": STEPS, "validate_every": STEPS, "queries": 3, **sections.get("meta", {})}
            config = tiny_config(image_root, below, run=name, **{**sections, "meta": meta})
            (below / f"{name}.yaml").write_text(to_yaml(config), encoding="utf-8")
            folders[name] = RunFolder.of(config)
            if name.startswith("meta"):
                folders[name].path.mkdir(parents=True)
                payload = checkpoints.read(pretrained)
                checkpoints.write(folders[name].pretrain, payload)
        return folders

    homes = {world: tmp_path_factory.mktemp(f"world-{world}") for world in (1, 2, 3)}
    folders = {world: prepare(world, home) for world, home in homes.items()}
    scripts = {world: (world, homes[world] / "log", str(SCRIPT), str(homes[world])) for world in (2, 3)}
    with Launched(*scripts[2]) as two, Launched(*scripts[3]) as three:
        trained_together.train(homes[1])
        for launched in (two, three):
            code, printed = launched.wait()
            assert code == 0, printed
    return folders


def _episodes(folder: RunFolder):
    """What was drawn, and how it went, episode by episode."""
    with Ledger.read(folder.ledger) as ledger:
        drawn = ledger.sql.execute(
            "SELECT round, step, origin, stream, classes, images FROM episode"
        ).fetchall()
        went = ledger.sql.execute("SELECT loss, accuracy, hardness, fisher FROM episode").fetchall()
        rounds = ledger.sql.execute("SELECT epsilon, alpha, accuracy FROM round").fetchall()
    return drawn, np.array(went, float), np.array(rounds, float)


@pytest.mark.parametrize(("name", "world"), [pair for pair in PAIRS if pair[0].startswith("meta")])
def test_meta_training_is_the_same_with_any_number_of_processes(trained, name, world):
    alone, together = _episodes(trained[1][name]), _episodes(trained[world][name])
    assert len(alone[0]) >= STEPS
    assert together[0] == alone[0]
    if name == "meta-train exact":
        np.testing.assert_array_equal(together[1], alone[1])
        np.testing.assert_array_equal(together[2], alone[2])
    np.testing.assert_allclose(together[1], alone[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together[2], alone[2], rtol=1e-4, atol=1e-5)
    ends = [checkpoints.read(trained[w][name].path / "end.pt") for w in (1, world)]
    before, after = (end["learner"] for end in ends)
    assert ends[0]["step"] == ends[1]["step"] >= STEPS
    # A factor of the first layer's only channel is one of a whole filter, which a batch's statistics take off
    # again: Adam makes steps of what rounding leaves of its gradient, and running statistics follow.
    factor = "convs.0.parametrizations.weight.0.factor"
    frozen = CASES[name]["meta"].get("batch_norm") == "frozen"
    cancelled = () if frozen else (factor, "norms.0.running_mean", "norms.0.running_var")
    for key, value in before.items():
        if not key.endswith(cancelled):
            torch.testing.assert_close(after[key], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "world"), [pair for pair in PAIRS if pair[0].startswith("pretrain")])
def test_pretraining_is_the_same_with_any_number_of_processes(trained, name, world):
    alone, together = (checkpoints.read(trained[w][name].pretrain) for w in (1, world))
    assert together["step"] == alone["step"] > 0
    for part in ("backbone", "classifier"):
        for key, value in alone[part].items():
            # where two maxima of a pooling are all but equal, rounding chooses: one weight may differ by more
            torch.testing.assert_close(together[part][key], value, rtol=1e-4, atol=1e-4)


def test_a_whole_run_in_two_processes_gives_the_results_of_one(trained):
    alone, together = trained[1]["run whole"], trained[2]["run whole"]
    for name in ("results", "calibration"):
        one, other = (json.loads(getattr(folder, name).read_text()) for folder in (alone, together))
        assert _rounded(one, 3) == _rounded(other, 3)
        of_two = json.loads((together.path.parent / f"{name}.json").read_text())  # by the same weights
        assert _rounded(of_two, 6) == _rounded(other, 6)
    files = [sorted(p.name for p in folder.path.iterdir()) for folder in (alone, together)]
    assert files[0] == files[1]


def _rounded(tree, digits):
    if isinstance(tree, dict):
        return {key: _rounded(value, digits) for key, value in tree.items() if key not in {"seconds", "time"}}
    if isinstance(tree, list):
        return [_rounded(value, digits) for value in tree]
    return round(tree, digits) if isinstance(tree, float) else tree


@pytest.fixture(scope="module")
def disturbed(image_root, pretrained, tmp_path_factory):
    """Makes a run of which every sum is ordered, at the start of meta-training: its config's file and folder.

    And what becomes of it in one process that nothing disturbs.
    """
    home = tmp_path_factory.mktemp("disturbed")

    def make(name: str) -> tuple[Path, RunFolder]:
        config = tiny_config(
            image_root,
            home,
            run=name,
            meta={"batch_norm": "frozen", "steps": 150, "validate_every": 50},
            hard_tasks={"sampler": "boosted", "every": 25},
            runtime={"ordered_sum": True, "checkpoint_seconds": 0.1},
        )
        folder, path = RunFolder.of(config), home / f"meta-train {name}.yaml"
        folder.path.mkdir(parents=True)
        checkpoints.write(folder.pretrain, checkpoints.read(pretrained))
        path.write_text(to_yaml(config), encoding="utf-8")
        return path, folder

    path, alone = make("alone")
    meta_train(load_config(path))
    return make, alone


def _start(path: Path, *more: str, **options) -> Launched:
    command = (str(ROOT / "run_meta.py"), "meta-train", "--config", str(path), *more)
    return Launched(2, path.with_suffix(".log"), *command, **options)


def _same_run(one: RunFolder, other: RunFolder) -> None:
    with Ledger.read(one.ledger) as a, Ledger.read(other.ledger) as b:
        assert digest(a) == digest(b)
    a, b = (checkpoints.read(folder.meta) for folder in (one, other))
    assert a["step"] == b["step"]
    for name, value in a["learner"].items():
        assert torch.equal(value, b["learner"][name]), name


linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")


@linux
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_is_started_again_and_the_run_ends_as_if_nothing_had_been(disturbed, rank):
    make, alone = disturbed
    path, folder = make(f"killed {rank}")
    with _start(path, max_restarts=3) as launched:
        launched.wait_for(folder.last)
        os.kill(launched.of_rank(rank), signal.SIGKILL)
        code, printed = launched.wait()
    assert code == 0, printed
    _same_run(folder, alone)


@linux
def test_a_stop_saves_and_another_number_of_processes_goes_on(disturbed):
    make, alone = disturbed
    path, folder = make("stopped")
    with _start(path) as launched:
        launched.wait_for(folder.last)
        launched.process.send_signal(signal.SIGTERM)
        code, printed = launched.wait()
    assert code != 0
    assert printed.count("--resume goes on from there") == 1
    assert folder.last.exists()
    assert not folder.meta.exists()
    meta_train(load_config(path), resume=True)
    _same_run(folder, alone)


def test_a_mistake_is_told_once_and_nobody_waits_nor_tries_again(disturbed):
    make, _ = disturbed
    path, folder = make("mistaken")
    with _start(path, "meta.way=77", max_restarts=1) as launched:
        _, printed = launched.wait()
    assert printed.count("error: ") == 1
    assert "meta.way" in printed
    assert "exitcode  : 2" in printed
    assert not folder.last.exists()
