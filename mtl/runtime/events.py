"""Event files for TensorBoard, in the folder `tensorboard` of a run: `tensorboard --logdir checkpoints`.

Each stage has its own folder in it: TensorBoard takes a folder for one history, and drops its end if a stage
goes on from an earlier step. The package is optional, and imported only if a config wants it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtl.config import Log
from mtl.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
_KEY = "log.tensorboard: true"


def require_tensorboard(log: Log) -> None:
    """UserError if event files are wanted and the package is not installed; call it before any training."""
    if log.tensorboard:
        _writer_class(_KEY)


class Events:
    """The scalars of one stage; nothing is written unless the config wants it."""

    def __init__(self, run: Path, stage: str, step: int, log: Log) -> None:
        """
        Args:
            run: the run's folder.
            stage: that is measured.
            step: after which the stage begins or goes on: events of later steps are of a sitting that was
                cut off, and TensorBoard drops them.
            log: says if event files are wanted.
        """
        self.stage, self.writer = stage, None
        if log.tensorboard:
            purge = step + 1 if step else 0  # a fresh start has no events, that of step 0 included
            self.writer = _writer_class(_KEY)(str(run / FOLDER / stage), purge_step=purge)

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *error: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, step: int, numbers: Mapping[str, Any]) -> None:
        """One event for each number at this step; None was not measured.

        They are on disk afterwards: a checkpoint that follows has its events, whatever ends the process.
        """
        if self.writer is None:
            return
        for name, value in numbers.items():
            if value is not None:
                self.writer.add_scalar(f"{self.stage}/{name}", value, step)
        self.writer.flush()


def write_figures(run: Path, figures: "Mapping[str, Figure]", step: int) -> None:
    """Writes figures by name into the run's event files; UserError if the package is not installed.

    TensorBoard drops those that were written before for the same step or a later one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    writer_class = _writer_class("figures for TensorBoard")
    with writer_class(str(run / FOLDER / "figures"), purge_step=step) as writer:
        for name, figure in figures.items():
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())[..., :3]
            writer.add_image(name, pixels, step, dataformats="HWC")


def _writer_class(wanted_by: str) -> "type[SummaryWriter]":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            f"{wanted_by}: needs the package tensorboard, which is not installed; pip install tensorboard"
        ) from None
    return SummaryWriter
