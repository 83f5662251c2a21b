"""Decoding goes on where it was stopped, takes nothing half-written for whole, and uses what is there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.config import Log
from mtl.data.decode import decode
from mtl.data.decoded_set import Form, decoded_set
from mtl.data.pixel_file import PixelsInMemory, PixelWriter, blocks_of, check, log_of, mapped
from mtl.runtime.tensor_files import Damaged

SHAPE = (2, 3, 3)
PROJECT = Path(__file__).parents[2]


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def test_a_file_goes_on_behind_its_last_whole_block(tmp_path: Path) -> None:
    path, parts = tmp_path / "a.pixels", [noise(4, 1), noise(1, 2), noise(0), noise(3, 3)]
    with PixelWriter(path, SHAPE) as out:
        for part in parts[:3]:
            out.append(part, {"n": len(part)})
    content, log = path.read_bytes(), log_of(path).read_text()
    for pixels, lines, whole in (
        (content, log, 3),
        (content + b"half a block", log, 3),  # not yet in the log
        (content[:-1], log, 1),  # never reached the disk
        (content[:80] + b"!" + content[81:], log, 1),
        (content, log[:-3], 2),
        (content, "", 0),
    ):
        path.write_bytes(pixels)
        log_of(path).write_text(lines)
        with PixelWriter(path, SHAPE) as out:
            assert [block.note["n"] for block in out.blocks] == [4, 1, 0][:whole]
            for part in parts[whole:]:
                out.append(part, {"n": len(part)})
        assert torch.equal(mapped(path, SHAPE), torch.from_numpy(np.concatenate(parts)))
        blocks = [(block.images, block.checksum) for block in blocks_of(path)]
        check(path, SHAPE, blocks)
        everything = PixelsInMemory(8, SHAPE)
        everything.append(np.concatenate(parts))
        assert torch.equal(out.counts, everything.counts)
    path.write_bytes(content)
    with pytest.raises(Damaged, match="another length"):
        check(path, SHAPE, blocks)


def test_a_file_larger_than_the_memory_can_be_mapped(tmp_path: Path) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    path, size = tmp_path / "a.pixels", (memory // 18 + 1) * 2 * 18
    with path.open("wb") as file:
        file.truncate(size)  # a hole: it takes no room
    images = mapped(path, SHAPE)
    images[-1] = 1  # stays in this process
    assert int(images[-1].sum()) == 18
    assert int(mapped(path, SHAPE)[-1].sum()) == 0


KILLED = """
import sys, time
from pathlib import Path
import mtl.data.decode as decoding
from mtl.data.decoded_set import Form, decoded_set
plain = decoding.to_tensor
def slow(*arguments):
    time.sleep(0.01)
    return plain(*arguments)
decoding.to_tensor = slow
root = Path(sys.argv[1])
parts = [{p: sorted((root / p).iterdir())} for p in "abc"]
decoded_set(root, "set", parts, Form(256, False), root=root)
"""


def test_what_was_decoded_before_a_kill_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """256×256 in colour: five images a block."""
    for name in "abc":
        (tmp_path / name).mkdir()
        for i in range(40):
            Image.new("RGB", (300, 256), (i, ord(name), 0)).save(tmp_path / name / f"{i:02d}.png")
    (tmp_path / "a" / "03.png").write_bytes(b"")
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], cwd=PROJECT, stderr=subprocess.PIPE)
    try:
        while not any(file.stat().st_size for file in tmp_path.glob(".cache/*.val.log")):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    parts = [{name: sorted((tmp_path / name).iterdir())} for name in "abc"]
    decoded: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("mtl.data.decode.drawn_here", lambda file: decoded.append(file.parent.name))
        found = decoded_set(tmp_path, "set", parts, Form(256, False), root=tmp_path, log=Log(quiet=True))
    assert decoded.count("a") == 0
    assert 0 < decoded.count("b") < 40
    assert decoded.count("c") == 40
    assert found.failed == {"a/03.png": "the file is empty"}
    for part in (found.splits.train, found.splits.val, found.splits.test):
        for image, file in zip(part.images, part.files, strict=True):
            assert torch.equal(image, decode(tmp_path / file, 256, False))
    assert not list(tmp_path.glob(".cache/*.log"))
