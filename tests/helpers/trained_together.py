"""What torchrun starts in tests: trains every config of a folder, `<stage> <name>.yaml`, in their order.

python -m torch.distributed.run --standalone --nproc-per-node=2 tests/helpers/trained_together.py FOLDER
"""

import sys
from dataclasses import replace
from pathlib import Path

from mtl.config import load_config
from mtl.runtime.torchrun import joined_world
from mtl.runtime.world import ALONE, World, scratch_folder
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data

STAGES = {"pretrain": pretrain, "meta-train": meta_train}


def train(folder: Path, world: World = ALONE) -> None:
    """Trains them in this process and those of `world`; all have the same images."""
    run_data = None
    for path in sorted(folder.glob("*.yaml")):
        config = load_config(path)
        run_data = run_data or load_run_data(config, world)
        with scratch_folder() as scratch:
            own = config if world.first else replace(config, checkpoints=scratch)
            STAGES[path.name.split()[0]](own, run_data=run_data, world=world)


if __name__ == "__main__":
    with joined_world("cpu") as together:
        train(Path(sys.argv[1]), together)
