"""`curriculum` of a run: pictures where they are asked for, shares as a table, mistakes as sentences."""

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image

from mtl.config import load_config, to_yaml
from mtl.errors import UserError
from mtl.report import curriculum_command as stage
from mtl.report import curriculum_stats as admission
from mtl.report.curriculum_command import draw_curriculum
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training.curriculum import UNMET, percent, read, write
from mtl.training.run_data import load_run_data


@pytest.fixture
def run(tiny) -> RunFolder:
    """A run with wrong labels, and the record of its pretraining: harder images enter in later epochs."""
    config = tiny(run="paced [1]")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, label_noise=0.25))
    run_data = load_run_data(config)
    wrong = run_data.mislabelled[run_data.pretrain_images]
    hardness = torch.rand(len(wrong), generator=generator(0, "hardness")) + 0.3 * wrong
    admitted = [percent((1 - hardness / pace).clamp_min(0)) for pace in (0.4, 0.7, 1.0)]
    admitted[1][5:9] = UNMET
    folder = RunFolder.of(config)
    folder.write_config(config)
    header = checkpoints.header(config, "pretrain", run_data.splits.train.class_names)
    write(folder.curriculum, header, run_data, admitted)
    return folder


def test_pictures_lie_in_the_folder_of_the_run(run, capsys):
    before = {p.name for p in run.path.iterdir()}
    draw_curriculum(run.path)
    still, moving = run.path / "curriculum.png", run.path / "curriculum.gif"
    assert {p.name for p in run.path.iterdir()} == before | {still.name, moving.name}
    with Image.open(still) as image:
        assert image.format == "PNG"
    with Image.open(moving) as image:
        assert (image.format, image.n_frames) == ("GIF", 3)
    assert f"SplitImages: {still}, {moving}\n" in capsys.readouterr().out


def test_pictures_lie_where_they_are_asked_for_and_are_the_same_each_time(run, tmp_path, capsys):
    before = {p.name for p in run.path.iterdir()}
    for out in ("new/one", "new/other"):
        draw_curriculum(run.path, tmp_path / out)
    assert {p.name for p in run.path.iterdir()} == before
    names = {"curriculum.png", "curriculum.gif"}
    for name in names:
        assert (tmp_path / "new/one" / name).read_bytes() == (tmp_path / "new/other" / name).read_bytes()
    assert {p.name for p in (tmp_path / "new/one").iterdir()} == names


def test_the_table_holds_the_shares(run, capsys, monkeypatch):
    monkeypatch.setattr(stage, "film", lambda *_: b"")
    draw_curriculum(run.path)
    told = capsys.readouterr().out
    record = read(run.curriculum)
    found = admission.pace(record.weights)
    wrong = admission.pace(record.weights, record.mislabelled)
    rows = [line.strip("│\n ").split("│") for line in told.splitlines() if line.startswith("│")]
    assert len(rows) == 3
    for e, row in enumerate(rows):
        cells = [cell.strip() for cell in row]
        met = (144, 140, 144)[e]
        assert cells[:3] == [str(e + 1), str(met), str(int((record.weights[e] > 0).sum()))]
        assert cells[3] == f"{100 * int(cells[2]) / met:.1f} %"
        assert cells[4] == f"{float(found.weight[e]):.3f}"
        assert cells[6] == f"{100 * float(wrong.counted[e] / wrong.met[e]):.1f} %"
    assert "paced [1]: self-paced pretraining, 144 images, 25 % of them mislabelled" in told
    never = int(admission.never(record.weights).sum())
    assert never > 0
    assert f"Never counted: {never}, " in told


def test_a_long_table_is_cut_evenly(run, capsys, monkeypatch):
    record = read(run.curriculum)
    long = dataclasses.replace(record, weights=record.weights[[0, 1, 2] * 30])
    monkeypatch.setattr(stage.curriculum, "read", lambda path: long)
    monkeypatch.setattr(stage, "film", lambda *_: b"")
    monkeypatch.setattr(stage, "sheet", lambda *_: None)
    monkeypatch.setattr(stage, "save_png", lambda *_: None)
    draw_curriculum(run.path)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    epochs = [int(line.split("│")[1]) for line in lines]
    assert len(epochs) == 20
    assert (epochs[0], epochs[-1]) == (1, 90)


def refused(folder: Path, match: str, out: Path | None = None) -> None:
    """Told in one line, with nothing drawn."""
    before = sorted(folder.rglob("*")) if folder.exists() else []
    with pytest.raises(UserError, match=match) as told:
        draw_curriculum(folder, out)
    assert "\n" not in str(told.value)
    assert (sorted(folder.rglob("*")) if folder.exists() else []) == before


def test_a_run_without_a_record_or_without_a_config_is_refused(run, tmp_path):
    refused(tmp_path / "nowhere", r"curriculum\.pt: there is no such checkpoint; only pretraining with")
    run.config.unlink()
    refused(run.path, r"config\.yaml: there is no such config")


def test_an_image_set_that_is_gone_is_told(run, tmp_path):
    config = load_config(run.config)
    data = dataclasses.replace(config.data, root=str(tmp_path / "gone"))
    run.config.write_text(to_yaml(dataclasses.replace(config, data=data)), encoding="utf-8")
    refused(run.path, "data.root: .*gone is no folder")


@pytest.mark.parametrize("change", [{"label_noise": 0.3}, {"probe_fraction": 0.4}])
def test_other_images_than_those_of_the_record_are_refused(run, change):
    config = load_config(run.config)
    data = dataclasses.replace(config.data, **change)
    run.config.write_text(to_yaml(dataclasses.replace(config, data=data)), encoding="utf-8")
    refused(run.path, r"curriculum\.pt: was made of other images than those that .*config\.yaml leads to now")


def test_a_folder_that_cannot_be_written_to_is_told(run, tmp_path):
    (tmp_path / "file").touch()
    refused(run.path, r"curriculum\.png: the picture cannot be written \(", tmp_path / "file")
