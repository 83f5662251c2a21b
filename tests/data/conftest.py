import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.data.decode import DecodedFiles

WriteImages = Callable[..., list[Path]]


@pytest.fixture
def write_images() -> WriteImages:
    """Writes `count` small PNG files of noise into a folder, the same for the same folder name."""

    def write(folder: Path, count: int = 2, size: int = 8, channels: int = 3) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(sum(map(ord, folder.name)))
        files = [folder / f"{i:02d}.png" for i in range(count)]
        for file in files:
            pixels = random.integers(0, 256, (size, size, channels), dtype=np.uint8)
            Image.fromarray(pixels if channels > 1 else pixels[:, :, 0]).save(file)
        return files

    return write


@pytest.fixture
def real_set() -> Callable[[str], Path]:
    """The folder that holds a real image set; the test is skipped where there is none."""

    def find(name: str) -> Path:
        default = Path(__file__).parents[2] / "data"
        root = Path(os.environ.get("MTL_DATA_ROOT", default))
        if not (root / name).is_dir():
            pytest.skip(f"{name} is not below {root}; MTL_DATA_ROOT names another folder")
        return root

    return find


@pytest.fixture
def count_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are listed and not read: images are single pixels."""

    def blank(files: Sequence[Path], *_: object) -> DecodedFiles:
        return DecodedFiles(torch.zeros(len(files), 1, 1, 1, dtype=torch.uint8), {}, ([0.0], [1.0]))

    monkeypatch.setattr("mtl.data.decode.decode_files", blank)
    monkeypatch.setattr("mtl.data.decoded_set.decode_files", blank)


@pytest.fixture
def photograph() -> Callable[..., Image.Image]:
    """Makes pictures with detail everywhere, as photographs have; each number is another one."""

    def make(number: int, side: int = 64) -> Image.Image:
        random = np.random.default_rng(number)
        small = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)

    return make
