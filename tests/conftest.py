"""A tiny image set on disk, a config of a run on it, and its pretrained backbone, for tests of stages."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtl.config import Config, read_config, to_dict
from mtl.config.hard_tasks import drop_other_samplers
from mtl.evaluation.evaluate import run
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.training.pretrain import pretrain

pytest_plugins = ["stage_fixtures", "report_fixtures", "ledger_fixtures", "compare_fixtures"]

CLASSES, IMAGES, SIDE = {"train": 12, "val": 5, "test": 6}, 12, 16


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`<root>/{train,val,test}/<class>/*.png`: blurred patterns with noise, 16×16, grey."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for part, classes in CLASSES.items():
        for c in range(classes):
            folder = root / part / f"{part} {c:02d}"
            folder.mkdir(parents=True)
            pattern = np.kron(random.random((4, 4)), np.ones((4, 4))) * 200
            for i in range(IMAGES):
                pixels = (pattern + random.normal(0, 40, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return root


def _tiny(image_root: Path, below: Path, **sections) -> Config:
    tree = {
        "run": "tiny",
        "checkpoints": str(below / "checkpoints"),
        "data": {
            "name": "image_folder",
            "root": str(image_root),
            "image_size": SIDE,
            "grayscale": True,
            "augment": {"flip": True, "rotate": 5},
        },
        "backbone": {"channels": [4, 4, 8, 8]},
        "pretrain": {"epochs": 2, "batch_size": 32, "validate_tasks": 10},
        "meta": {
            "way": 3,
            "queries": 3,
            "tasks": 2,
            "steps": 8,
            "validate_every": 4,
            "validate_tasks": 10,
            "batch_norm": "update",
            "head": {"inner_steps": 3},
        },
        "hard_tasks": {
            "sampler": "boosted_pool",
            "every": 3,
            "warm_up": 0.0,
            "fade": 0.1,
            "share": 0.8,
        },
        "evaluate": {
            "settings": [[3, 1], [3, 2]],
            "queries": 4,
            "tasks": 30,
            "resample": {"rounds": 3, "tasks": 5},
        },
        "runtime": {"device": "cpu", "threads": 1},
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
    drop_other_samplers(tree, sections.get("hard_tasks", {}))
    if tree["hard_tasks"]["sampler"] == "boosted_pool":
        tree["hard_tasks"]["boosted_pool"] = {"pool": 4, **tree["hard_tasks"].get("boosted_pool", {})}
    return read_config(tree, "test")


@pytest.fixture
def tiny(image_root: Path, tmp_path: Path):
    """Makes configs of tiny runs: `tiny(meta={"steps": 3})` lays sections over the defaults given here."""
    return partial(_tiny, image_root, tmp_path)


@pytest.fixture(scope="session")
def pretrained(image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the pretrained backbone that tests of later stages begin with."""
    config = _tiny(image_root, tmp_path_factory.mktemp("pretrained"))
    pretrain(config)
    return RunFolder.of(config).pretrain


@pytest.fixture(scope="session")
def whole_run(image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with all its stages; tests only read it."""
    config = _tiny(image_root, tmp_path_factory.mktemp("whole"))
    run(config)
    return RunFolder.of(config)


@pytest.fixture
def from_pretrained(pretrained: Path):
    """Puts that checkpoint into the run folder of a config, as if made with its seed; the folder."""

    def put(config: Config) -> RunFolder:
        folder = RunFolder.of(config)
        folder.path.mkdir(parents=True, exist_ok=True)
        payload = checkpoints.read(pretrained)
        payload["config"] |= {key: to_dict(config)[key] for key in ("seed", "pretrain")}
        checkpoints.write(folder.pretrain, payload)
        return folder

    return put


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What the checkpoints of runs that have not ended held, one after the other."""
    seen, save = [], RunFolder.save

    def noting(self, payload, record=None):
        seen.append(payload)
        save(self, payload, record)

    monkeypatch.setattr(RunFolder, "save", noting)
    return seen
