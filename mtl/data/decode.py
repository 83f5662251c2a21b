"""Image files to uint8 tensors."""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from mtl.data.image_set import ImageSet
from mtl.errors import UserError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


def image_files(folder: Path) -> list[Path]:
    """The images of a class folder, sorted by name; hidden files, folders and other kinds are passed over.

    Raises:
        UserError: it holds none, or cannot be read.
    """
    names = [
        entry.name
        for entry in _entries(folder)
        if os.path.splitext(entry.name)[1].lower() in EXTENSIONS and entry.is_file()
    ]
    if not names:
        raise UserError(f"{folder}: the class holds no images ({', '.join(sorted(EXTENSIONS))})")
    return [folder / name for name in names]


def class_folders(folder: Path) -> list[Path]:
    """The folders below `folder`, and links to folders, sorted by name; hidden ones are passed over.

    Raises:
        UserError: it cannot be read.
    """
    return [folder / entry.name for entry in _entries(folder) if entry.is_dir()]


def decode(file: Path, size: int, grayscale: bool) -> Tensor:
    """The image of a file as `to_tensor` makes it, turned upright as its EXIF data say.

    Raises:
        UserError: the file is no readable image.
    """
    try:
        with Image.open(file) as opened:
            return to_tensor(ImageOps.exif_transpose(opened), size, grayscale)
    except Exception as error:  # a damaged file provokes anything, from EOFError to struct.error
        raise UserError(f"{file}: is not a readable image ({error})") from None


def to_tensor(image: Image.Image, size: int, grayscale: bool) -> Tensor:
    """(channels, size, size) uint8: the middle square of an image, scaled to `size`.

    Transparency is laid on white, 16-bit images are scaled to 8.

    Raises:
        ValueError: pixels are floating-point numbers, whose range nobody can know.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64) / 257
        image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    elif image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if grayscale else "RGB")
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image).reshape(size, size, -1)).permute(2, 0, 1).contiguous()


def decode_classes(
    classes: Mapping[str, Sequence[Path]],
    size: int,
    grayscale: bool,
    relative_to: Path,
    groups: Mapping[str, str] | None = None,
) -> ImageSet:
    """The image set of named classes and their files.

    Raises:
        UserError: names the first file that cannot be read.
    """
    names = sorted(classes)
    files = [file for name in names for file in classes[name]]
    images = torch.empty(len(files), 1 if grayscale else 3, size, size, dtype=torch.uint8)

    def fill(row: int) -> None:
        images[row] = decode(files[row], size, grayscale)

    with ThreadPoolExecutor() as pool:
        rows = pool.map(fill, range(len(files)))
        for _ in tqdm(rows, desc="decoding", total=len(files), disable=not sys.stderr.isatty()):
            pass
    return ImageSet(
        images,
        torch.arange(len(names)).repeat_interleave(torch.tensor([len(classes[name]) for name in names])),
        tuple(names),
        None if groups is None else tuple(groups[name] for name in names),
        tuple(str(file.relative_to(relative_to)) for file in files),
    )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name, so that nothing depends on the order of the file system."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None
