"""Showing a person which images of a self-paced pretraining counted when.

python run_meta.py curriculum checkpoints/omniglot
"""

import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtl.config import load_config
from mtl.errors import UserError
from mtl.report import curriculum_stats as admission
from mtl.report.curriculum_film import evenly, film
from mtl.report.curriculum_sheet import sheet
from mtl.report.run_files import at_home
from mtl.runtime.figure_files import save_png, write
from mtl.runtime.run_folder import RunFolder
from mtl.training import curriculum
from mtl.training.curriculum import Curriculum
from mtl.training.run_data import RunData, load_run_data

_LINES = 20  # of the table


def draw_curriculum(folder: Path, out: Path | None = None) -> None:
    """Draws curriculum.png and curriculum.gif, and prints the shares of the epochs as a table.

    Args:
        folder: of a run whose pretraining was self-paced and has ended.
        out: where the pictures go; None: to the folder.

    Raises:
        UserError: the run has no record or no config, its images cannot be had or are no longer those of the
            record, or a picture cannot be written.
    """
    run = RunFolder(folder)
    record = curriculum.read(run.curriculum)
    config = at_home(load_config(run.config), folder)
    config = replace(config, data=replace(config.data, cache=False))
    run_data = load_run_data(config)
    _require_fit(run, record, run_data)
    images, out = run_data.splits.train.images, out or folder
    still, moving = out / "curriculum.png", out / "curriculum.gif"
    title = f"{config.run}: self-paced pretraining, {_counted(record)}"
    save_png(sheet(record, images, title, config.seed), still)
    made = film(record, images, config.seed)
    write(moving, lambda path: path.write_bytes(made))

    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(_table(record, title))
    for line in (_never(record), f"SplitImages: {still}, {moving}"):
        console.print(escape(line), highlight=False, soft_wrap=True)


def _require_fit(run: RunFolder, record: Curriculum, run_data: RunData) -> None:
    train = run_data.splits.train
    same = (
        train.class_names == record.class_names
        and torch.equal(run_data.pretrain_images, record.images)
        and torch.equal(train.labels[record.images], record.labels)
    )
    if not same:
        raise UserError(
            f"{run.curriculum}: was made of other images than those that {run.config} leads to now; "
            "put back the image set or the config of that pretraining"
        )


def _counted(record: Curriculum) -> str:
    images, wrong = len(record.images), int(record.mislabelled.sum())
    return f"{images:,} images" + (f", {100 * wrong / images:.0f} % of them mislabelled" if wrong else "")


def _never(record: Curriculum) -> str:
    never = admission.never(record.weights)
    if not never.any():
        return "Every image that an epoch met counted in some epoch."
    count, wrong = int(never.sum()), int((never & record.mislabelled).sum())
    return f"Never counted: {count:,}" + (f", {wrong:,} of them mislabelled" if wrong else "")


def _table(record: Curriculum, title: str) -> Table:
    table = Table(title=escape(title), title_justify="left")
    groups = {**admission.by_label(record), **admission.by_class_size(record)}
    for column in ("epoch", "images met", "that count", "share", "mean weight", *groups):
        table.add_column(column, justify="right")
    of_all = admission.pace(record.weights)
    of_groups = [admission.pace(record.weights, own).share for own in groups.values()]
    for e in evenly(len(record.weights), _LINES):
        table.add_row(
            str(e + 1),
            f"{int(of_all.met[e]):,}",
            f"{int(of_all.counted[e]):,}",
            _percent(float(of_all.share[e])),
            f"{float(of_all.weight[e]):.3f}",
            *(_percent(float(share[e])) for share in of_groups),
        )
    if groups:
        table.caption, table.caption_justify = "last columns: the share within each group", "left"
    return table


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"
