"""All stages of a run, one after the other.

python run_meta.py run --config configs/quickstart.yaml
"""

from mtl.config import Config
from mtl.evaluation.evaluate import evaluate
from mtl.evaluation.results import Setting
from mtl.runtime.events import require_tensorboard
from mtl.runtime.run_folder import RunFolder
from mtl.training.meta_train import STAGE as META_TRAIN
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import STAGE as PRETRAIN
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data


def run(config: Config, resume: bool = False) -> list[Setting]:
    """Pretrains, meta-trains and evaluates; with `resume`, what has ended is left and what was begun goes on.

    Raises:
        UserError: before anything is written, for what the user can mend.
    """
    folder = RunFolder.of(config)
    with folder.held("run"):
        if not resume:
            for stage in (PRETRAIN, META_TRAIN):
                folder.refuse_existing(stage)
        require_tensorboard(config.log)
        run_data = load_run_data(config)
        pretrain(config, resume, run_data)
        meta_train(config, resume, run_data)
        return evaluate(config, run_data)
