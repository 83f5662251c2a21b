"""Image files to uint8 tensors."""

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
    """The images of a class folder, sorted by name; hidden files and other kinds are passed over.

    Raises:
        UserError: it holds none.
    """
    files = sorted(
        f for f in folder.iterdir() if f.suffix.lower() in EXTENSIONS and not f.name.startswith(".")
    )
    if not files:
        raise UserError(f"{folder}: the class holds no images ({', '.join(sorted(EXTENSIONS))})")
    return files


def class_folders(folder: Path) -> list[Path]:
    """The folders below `folder`, sorted by name, without hidden ones."""
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


def decode(file: Path, size: int, grayscale: bool) -> Tensor:
    """(channels, size, size) uint8: the middle square of an image, scaled to `size`.

    EXIF rotation is applied, transparency laid on white, 16-bit images scaled to 8.

    Raises:
        UserError: the file is no readable image.
    """
    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):
                image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().astype(np.uint8))
            elif image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("L" if grayscale else "RGB")
            if image.size != (size, size):
                image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
            values = np.array(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file}: is not a readable image ({error})") from None
    return torch.from_numpy(values.reshape(size, size, -1)).permute(2, 0, 1).contiguous()


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
    files = [(file, label) for label, name in enumerate(names) for file in classes[name]]
    with ThreadPoolExecutor() as pool:
        images = list(
            tqdm(
                pool.map(lambda f: decode(f[0], size, grayscale), files, chunksize=64),
                desc="decoding",
                total=len(files),
                disable=not sys.stderr.isatty(),
            )
        )
    return ImageSet(
        torch.stack(images),
        torch.tensor([label for _, label in files]),
        tuple(names),
        None if groups is None else tuple(groups[name] for name in names),
        tuple(str(file.relative_to(relative_to)) for file, _ in files),
    )
