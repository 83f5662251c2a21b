"""Event files: what TensorBoard reads back, and what it drops where a stage goes on."""

import io
import subprocess
import sys
import time

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mtl.config import Log
from mtl.errors import UserError
from mtl.runtime.events import Events, require_tensorboard, write_figures

WANTED = Log(tensorboard=True)


@pytest.fixture
def in_order(monkeypatch):
    """TensorBoard reads files by name: seconds, host, process, number. Here all may be of one second."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.summary.writer import event_file_writer as module

    monkeypatch.setattr(module, "_global_uid", type(module._global_uid)(0))


@pytest.fixture
def read(in_order):
    """The events of a folder, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def accumulated(folder):
        return EventAccumulator(str(folder)).Reload()

    return accumulated


def _scalars(events, tag):
    return [(e.step, e.value) for e in events.Scalars(tag)]


def test_scalars_read_back(tmp_path, read):
    with Events(tmp_path, "pretrain", 0, WANTED) as events:
        events.write(0, {"val": 0.25})
        events.write(4, {"loss": 0.5, "val": 0.75, "epsilon": None})  # the last was not measured
    found = read(tmp_path / "tensorboard" / "pretrain")
    assert _scalars(found, "pretrain/val") == [(0, 0.25), (4, 0.75)]
    assert _scalars(found, "pretrain/loss") == [(4, 0.5)]
    assert sorted(found.Tags()["scalars"]) == ["pretrain/loss", "pretrain/val"]


def test_events_are_on_disk_when_they_have_been_written(tmp_path, read, monkeypatch):
    """However slow the thread is that brings them there."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    plain = RecordWriter.write

    def slow(self, data):
        time.sleep(0.05)
        plain(self, data)

    monkeypatch.setattr(RecordWriter, "write", slow)
    with Events(tmp_path, "pretrain", 0, WANTED) as events:
        events.write(4, {"loss": 0.5})
        assert _scalars(read(tmp_path / "tensorboard" / "pretrain"), "pretrain/loss") == [(4, 0.5)]


def test_a_stage_that_goes_on_drops_what_came_after_its_checkpoint_and_nothing_else(tmp_path, read):
    with Events(tmp_path, "pretrain", 0, WANTED) as events:
        for step in range(5):
            events.write(step, {"loss": float(step)})
    with Events(tmp_path, "meta-train", 0, WANTED) as events:
        for step in range(5):
            events.write(step, {"loss": float(step)})
    with Events(tmp_path, "meta-train", 2, WANTED) as events:
        events.write(4, {"loss": 40.0})
    folder = tmp_path / "tensorboard"
    assert _scalars(read(folder / "meta-train"), "meta-train/loss") == [(0, 0), (1, 1), (2, 2), (4, 40)]
    assert len(_scalars(read(folder / "pretrain"), "pretrain/loss")) == 5


def test_a_stage_that_starts_afresh_drops_everything(tmp_path, read):
    with Events(tmp_path, "meta-train", 0, WANTED) as events:
        events.write(0, {"val": 0.1})
        events.write(1, {"val": 0.2})
    with Events(tmp_path, "meta-train", 0, WANTED) as events:
        events.write(0, {"val": 0.3})
    assert _scalars(read(tmp_path / "tensorboard" / "meta-train"), "meta-train/val") == [
        (0, pytest.approx(0.3))
    ]


def test_nothing_is_written_where_it_is_not_wanted(tmp_path):
    with Events(tmp_path, "pretrain", 0, Log()) as events:
        events.write(4, {"loss": 0.5})
    assert list(tmp_path.iterdir()) == []


def _figure(colour):
    return Figure(figsize=(0.4, 0.2), dpi=100, facecolor=colour)


def _images(events, tag):
    found = events.Images(tag)
    return [(e.step, np.asarray(Image.open(io.BytesIO(e.encoded_image_string)))) for e in found]


def test_figures_read_back_as_images(tmp_path, read):
    write_figures(tmp_path, {"curves": _figure("red"), "pairs/heat map": _figure("blue")}, 500)
    found = read(tmp_path / "tensorboard" / "figures")
    assert sorted(found.Tags()["images"]) == ["curves", "pairs/heat map"]
    ((step, pixels),) = _images(found, "curves")
    assert (step, pixels.shape) == (500, (20, 40, 3))
    assert (pixels == [255, 0, 0]).all()


def test_figures_of_the_same_step_are_replaced(tmp_path, read):
    for colour, step in (("red", 100), ("red", 500), ("blue", 500)):
        write_figures(tmp_path, {"curves": _figure(colour)}, step)
    found = read(tmp_path / "tensorboard" / "figures")
    assert [(step, *pixels[0, 0]) for step, pixels in _images(found, "curves")] == [
        (100, 255, 0, 0),
        (500, 0, 0, 255),
    ]


@pytest.fixture
def not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)


def test_a_package_that_is_not_installed_is_named_with_what_to_install(not_installed, tmp_path):
    sentence = "needs the package tensorboard, which is not installed; pip install tensorboard$"
    with pytest.raises(UserError, match=f"^log.tensorboard: true: {sentence}"):
        require_tensorboard(WANTED)
    with pytest.raises(UserError, match=sentence):
        write_figures(tmp_path, {"curves": _figure("red")}, 0)
    require_tensorboard(Log())


def test_the_package_is_not_imported_before_it_is_wanted():
    code = (
        "import sys, mtl.evaluation.evaluate; sys.exit(any(m.startswith('tensorboard') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
