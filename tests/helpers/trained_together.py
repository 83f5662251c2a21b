"""What torchrun starts in tests: trains every config of a folder, `<stage> <name>.yaml`, in their order.

    python -m torch.distributed.run --standalone --nproc-per-node=2 tests/helpers/trained_together.py FOLDER

The last state of a stage is kept as end.pt. Where the name ends with "in parts", one task passes at a time.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from mtl.config import Config, load_config
from mtl.evaluation.evaluate import evaluate, run
from mtl.runtime.devices import Device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.torchrun import joined_world
from mtl.runtime.world import ALONE, World, scratch_folder
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data

STAGES = {"pretrain": pretrain, "meta-train": meta_train}
FINISH, AT_ONCE = RunFolder.finish, Device.images_at_once


def keep_end(folder: RunFolder, stage: str, payload: dict) -> None:
    if folder.last.exists():
        shutil.copy(folder.last, folder.path / "end.pt")
    FINISH(folder, stage, payload)


def evaluate_alone(config: Config) -> None:
    """Evaluates a run once more in one process; what several have found is kept beside it."""
    folder = RunFolder.of(config)
    for path in (folder.results, folder.calibration):
        shutil.copy(path, folder.path.parent)
    evaluate(config)


def train(folder: Path, world: World = ALONE) -> None:
    """Trains them in this process and those of `world`; all have the same images."""
    run_data = None
    RunFolder.finish = keep_end
    for path in sorted(folder.glob("*.yaml")):
        config, stage = load_config(path), path.name.split()[0]
        run_data = run_data or load_run_data(config, world)
        Device.images_at_once = (lambda *_: 12) if path.stem.endswith("in parts") else AT_ONCE
        with scratch_folder() as scratch:
            own = config if world.first else replace(config, checkpoints=scratch)
            if stage == "run":
                run(own, world=world)
                if world.first and world.size > 1:
                    evaluate_alone(own)
            else:
                STAGES[stage](own, run_data=run_data, world=world)
    RunFolder.finish, Device.images_at_once = FINISH, AT_ONCE


def main() -> None:
    """Its world does not outlive it: threads of gloo must end before the interpreter does."""
    with joined_world("cpu") as together:
        train(Path(sys.argv[1]), together)


if __name__ == "__main__":
    main()
