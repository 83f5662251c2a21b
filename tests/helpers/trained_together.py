"""What torchrun starts in tests: trains every config of a folder, `<stage> <name>.yaml`, in their order.

python -m torch.distributed.run --standalone --nproc-per-node=2 tests/helpers/trained_together.py FOLDER
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from mtl.config import load_config
from mtl.evaluation.evaluate import evaluate
from mtl.runtime.world import ALONE, World, joined_world, scratch_folder
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain

STAGES = {"pretrain": pretrain, "meta-train": meta_train, "evaluate": partial(evaluate)}


def train(folder: Path, world: World = ALONE) -> None:
    """Trains them in this process and those of `world`."""
    for path in sorted(folder.glob("*.yaml")):
        config = load_config(path)
        with scratch_folder() as scratch:
            own = config if world.first else replace(config, checkpoints=scratch)
            STAGES[path.name.split()[0]](own, world=world)


if __name__ == "__main__":
    with joined_world("cpu") as together:
        train(Path(sys.argv[1]), together)
