"""One training in several processes, started by torchrun, is the training of one process."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trained_together
from sampler_options import nested

from mtl.config import to_yaml
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder

SCRIPT = Path(trained_together.__file__)
ROOT = SCRIPT.parents[2]
STEPS = 20


def torchrun(world: int, *command: str, **options) -> subprocess.Popen:
    """Starts a command in `world` processes."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    paths = f"{ROOT}{os.pathsep}{SCRIPT.parent}"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    more = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    return subprocess.Popen(
        [*run, *more, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


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
            "batch_norm": norms[i % (2 if sampler in {"boosted", "fisher", "neighbours"} else 3)],
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
    yield "meta-train by one", {"meta": {"train": "all", "batch_norm": "frozen", "examples": hardest}}
    yield (
        "meta-train learners",
        {"meta": {"train": "all", "learners": 2}, "hard_tasks": {"sampler": "boosted"}},
    )


def pretrain_cases():
    for by in ("all", "focal", "hardest", "self_paced", "influence"):
        more = {"alpha": 1.0} if by == "influence" else {}
        yield f"pretrain {by}", {"pretrain": {"examples": {"by": by, **more}}}


CASES = dict(itertools.chain(meta_cases(), pretrain_cases()))


@pytest.fixture(scope="module")
def trained(image_root, pretrained, tmp_path_factory):
    """The run folder of each case, by the number of processes that trained it."""
    from tiny_run import tiny_config

    def prepare(below: Path) -> dict[str, RunFolder]:
        folders = {}
        for name, sections in CASES.items():
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
    folders = {world: prepare(home) for world, home in homes.items()}
    running = {world: torchrun(world, str(SCRIPT), str(homes[world])) for world in (2, 3)}
    trained_together.train(homes[1])
    for process in running.values():
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
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


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("meta")])
def test_meta_training_is_the_same_with_any_number_of_processes(trained, name, world):
    alone, together = _episodes(trained[1][name]), _episodes(trained[world][name])
    assert len(alone[0]) >= STEPS
    assert together[0] == alone[0]
    if name == "meta-train exact":
        np.testing.assert_array_equal(together[1], alone[1])
        np.testing.assert_array_equal(together[2], alone[2])
    np.testing.assert_allclose(together[1], alone[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together[2], alone[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("pretrain")])
def test_pretraining_is_the_same_with_any_number_of_processes(trained, name, world):
    alone, together = (checkpoints.read(trained[w][name].pretrain) for w in (1, world))
    assert together["step"] == alone["step"] > 0
    for part in ("backbone", "classifier"):
        for key, value in alone[part].items():
            torch.testing.assert_close(together[part][key], value, rtol=1e-4, atol=1e-5)
