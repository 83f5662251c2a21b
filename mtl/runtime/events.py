"""Event files for TensorBoard, in the folder `tensorboard` of a run.

    tensorboard --logdir checkpoints

Each stage has a folder of its own in it: TensorBoard takes a folder for one history, and drops the end of it
where a stage goes on from an earlier step. The package is an extra, imported where a config asks for it.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from mtl.config import Log
from mtl.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


def require_tensorboard(log: Log) -> None:
    """Checks that event files can be written if they are asked for; to be called before any training.

    Raises:
        UserError: the package is not installed.
    """
    if log.tensorboard:
        _writer_class("log.tensorboard: true")


class Events:
    """The scalars of one stage; nothing is written where the config does not ask for it."""

    def __init__(self, run: Path, stage: str, step: int, log: Log) -> None:
        """
        Args:
            run: the run's folder.
            step: after which the stage begins or goes on: events of later steps are of a sitting that was
                cut off, and TensorBoard drops them.
        """
        self.stage, self.writer = stage, None
        if log.tensorboard:
            purge = step + 1 if step else 0  # a fresh start has no events, that of step 0 included
            self.writer = _writer(run / FOLDER / stage, purge, "log.tensorboard: true")

    def __enter__(self) -> "Events":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, step: int, numbers: Mapping[str, Any]) -> None:
        """One event for each number, at this step; what is None was not measured.

        They are on disk afterwards: a checkpoint that follows has its events, whatever ends the process.
        """
        if self.writer is None:
            return
        for name, value in numbers.items():
            if value is not None:
                self.writer.add_scalar(f"{self.stage}/{name}", value, step)
        self.writer.flush()


def write_figures(run: Path, figures: "Mapping[str, Figure]", step: int) -> None:
    """Writes figures, each under its name, into the run's event files.

    TensorBoard drops those that were written before for the same step or a later one.

    Raises:
        UserError: the package is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _writer(run / FOLDER / "figures", step, "figures for TensorBoard") as writer:
        for name, figure in figures.items():
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())[..., :3]
            writer.add_image(name, pixels, step, dataformats="HWC")


def _writer(folder: Path, purge_step: int, wanted: str) -> "SummaryWriter":
    return _writer_class(wanted)(str(folder), purge_step=purge_step)


def _writer_class(wanted: str) -> "type[SummaryWriter]":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            f"{wanted}: needs the package tensorboard, which is not installed; pip install tensorboard"
        ) from None
    return SummaryWriter
