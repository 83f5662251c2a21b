"""A person's own pictures on disk: classes, new pictures, and files that want to stop everything."""

import os
import shutil
import struct
import zlib
from pathlib import Path

from PIL import Image

CLASSES = ("ash", "elm", "oak")


def lay_out(image_root: Path, home: Path, shot: int = 3, queries: int = 4) -> None:
    """`things/<class>/*.png` and `new/*.png` below `home`, out of three novel classes."""
    (home / "new").mkdir(parents=True)
    for number, name in enumerate(CLASSES):
        (home / "things" / name).mkdir(parents=True)
        files = sorted((image_root / "test" / f"test {number:02d}").iterdir())
        for i, file in enumerate(files[: shot + queries]):
            place = home / "things" / name / f"{i}.png" if i < shot else home / "new" / f"{name} {i}.png"
            shutil.copyfile(file, place)


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it has 900 million pixels."""
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b""))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def hostile(folder: Path) -> dict[str, str]:
    """Files that cannot be read, in `folder`: what must be said of each."""
    Image.effect_noise((64, 64), 80).convert("RGB").save(folder / "whole.jpg")
    content = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "truncated.jpg").write_bytes(content[: len(content) // 2])
    bomb(folder / "bomb.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("shopping list: milk, eggs\n")
    Image.new("RGB", (10_000, 1)).save(folder / "thin.png")
    (folder / "two\nlines.png").write_bytes(b"\0\1\2\3")
    os.symlink("loop.png", folder / "loop.png")
    return {
        "bomb.png": "is not a readable image (it has 900,000,000 pixels, more than the 178,956,970 that "
        "Pillow opens)",
        "empty.png": "is not a readable image (the file is empty)",
        "text.png": "is not a readable image (it holds text, whatever its name says)",
        "thin.png": "is not a readable image (its sides, 10,000 × 1 pixels, differ by more than a factor of "
        "50: its middle square shows nothing)",
        "truncated.jpg": "is not a readable image (it ends too early, as after a copy that was broken off)",
        "two�lines.png": "is not a readable image (its content is damaged, or of no kind of picture that can "
        "be read)",
    }


def contents(folder):
    """Every file below a folder, with its bytes."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
