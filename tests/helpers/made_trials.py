"""One-shot trials in the layout of Lake et al.: black ink on white, drawn at random."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def drawing(strokes: np.ndarray, shaken: np.ndarray) -> bytes:
    """A PNG of 105×105 pixels with one line through points (n, 2), each moved a little."""
    image = Image.new("1", (105, 105), 1)
    ImageDraw.Draw(image).line([tuple(p) for p in strokes + shaken], fill=0, width=3)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def made_trials(runs: int = 3, way: int = 5, top: str = "", shake: float = 3) -> dict[str, bytes]:
    """The files of an archive by name."""
    random = np.random.default_rng(0)
    files = {}
    for r in range(1, runs + 1):
        signs, name = random.uniform(15, 90, (way, 5, 2)), f"run{r:02d}"
        order = random.permutation(way)
        lines = []
        for i in range(way):
            for part, sign in (("training/class", i), ("test/item", order[i])):
                shaken = random.normal(0, shake, (5, 2))
                files[f"{top}{name}/{part}{i + 1:02d}.png"] = drawing(signs[sign], shaken)
            lines.append(f"{name}/test/item{i + 1:02d}.png {name}/training/class{order[i] + 1:02d}.png\n")
        files[f"{top}{name}/class_labels.txt"] = "".join(lines).encode()
    return files


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    """An archive of these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
