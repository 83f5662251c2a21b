"""A tiny image set on disk, a config of a run on it, and its pretrained backbone, for tests of stages."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_run import SIDE, tiny_config

from mtl.config import Config, to_dict
from mtl.evaluation.evaluate import run
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.training.pretrain import pretrain

pytest_plugins = ["stage_fixtures", "report_fixtures", "ledger_fixtures", "compare_fixtures"]

CLASSES, IMAGES = {"train": 12, "val": 5, "test": 6}, 12


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


@pytest.fixture
def tiny(image_root: Path, tmp_path: Path):
    """Makes configs of tiny runs: `tiny(meta={"steps": 3})` lays sections over the defaults given here."""
    return partial(tiny_config, image_root, tmp_path)


@pytest.fixture(scope="session")
def pretrained(image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the pretrained backbone that tests of later stages begin with."""
    config = tiny_config(image_root, tmp_path_factory.mktemp("pretrained"))
    pretrain(config)
    return RunFolder.of(config).pretrain


@pytest.fixture(scope="session")
def whole_run(image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with all its stages; tests only read it."""
    config = tiny_config(image_root, tmp_path_factory.mktemp("whole"))
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
