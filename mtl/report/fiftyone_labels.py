"""How hard each image was, for the FiftyOne app: one file of labels, and the pictures stay where they are.

    python run_meta.py hard-tasks checkpoints/flowers --format fiftyone --out flowers.json

The format is FiftyOne's image classification dataset (FiftyOneImageClassificationDataset): a label for every
path, with attributes. docs/log.md says what they mean and how the file is loaded.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mtl.config import Config
from mtl.errors import UserError, one_line
from mtl.ledger.hard_images import HardImage, hardest_images
from mtl.ledger.queries import split_name
from mtl.ledger.store import Ledger
from mtl.report.run_files import read_run
from mtl.report.write_report import find_images
from mtl.runtime.outputs import replace_text, require_free
from mtl.runtime.progress import tell

_FORMAT = "--format fiftyone"
#: Where image sets are, below data.root.
_FOLDERS = ("", "omniglot", "omniglot-py", "cifar100", "mini_imagenet", "tiered_imagenet")


def write_fiftyone_labels(run: Path, out: Path | None, phase: str | None, top: int | None) -> str:
    """Writes a label for each image that was drawn in a phase of a run, or for the `top` hardest; what was
    written, in a sentence.

    Raises:
        UserError: no such run or phase, its images are not available or come from no files, or `out` cannot
            be written.
    """
    if out is None:
        raise UserError(f"{_FORMAT}: needs --out FILE.json")
    require_free(out, (".json",), overwrite=True)
    files = read_run(run)
    with Ledger.read(files.folder.ledger) as ledger:
        if not (phases := ledger.phases()):
            raise UserError(f"{ledger.path}: the ledger holds no episodes yet")
        at = ledger.phase(phase) if phase is not None else phases[0]
        tell(f"{_FORMAT}: looking up the images of {at.name}")
        images = find_images(files)
        gallery = images.galleries.get(at.split)
        if gallery is None or gallery.images is None:
            raise UserError(f"{_FORMAT}: {(*images.missing, f'there are no images of {at.split}')[0]}")
        if files.images.get(at.split) != images.fingerprints[at.split]:
            raise UserError(f"{_FORMAT}: the images of {at.split} are not those of the run any more")
        rows = hardest_images(ledger, at.name, sys.maxsize if top is None else top, all_drawn=top is None)
    labels = fiftyone_labels(rows, gallery.images.files, files.config_here(), at.split)
    replace_text(out, json.dumps(labels, ensure_ascii=False, indent=1) + "\n")
    return f"{len(labels['labels']):,} images of {at.name}: {out}"


def fiftyone_labels(
    rows: Sequence[HardImage], files: Sequence[str], config: Config, split: str = "test"
) -> dict[str, dict[str, object]]:
    """The content of the file. A picture that is of several classes (turned Omniglot) counts as its hardest.

    Args:
        rows: the hardest image first.
        files: of the split, as `ImageSet` has them.
        config: of the run.
        split: in the words of the ledger, which name another set than the run's own.

    Raises:
        UserError: an image comes from no file, or its file is gone.
    """
    roots = {split_name(config.evaluate.split, other.label): other.root for other in config.evaluate.sets}
    root = Path(roots.get(split) or config.data.root).absolute()
    homes = [*(root / folder for folder in _FOLDERS), root.parent]  # the parent: of a CSV list
    labels: dict[str, object] = {}
    for row in rows:
        name = files[row.image] if files else f"image {row.image}"
        names = [name, name.partition("/")[2]] if config.data.name == "several" else [name]
        place = next((path for home in homes for one in names if (path := home / one).is_file()), None)
        if place is None:
            raise UserError(
                f"{_FORMAT}: {one_line(name)} is not a file below {one_line(root)}; FiftyOne shows files; "
                "glyphs are rendered, CIFAR-100 and miniImageNet as downloaded are in archives"
            )
        attributes = {
            "hardness": round(row.wrong / (row.asked + 1), 4),
            "asked": row.asked,
            "wrong": row.wrong,
            "confused_with": row.taken_for or None,
            "supports": row.supports,
            "unlucky_supports": row.unlucky,
            "image": row.image,
        }
        labels.setdefault(str(place), {"label": row.name, "attributes": attributes})
    return {"labels": labels}
