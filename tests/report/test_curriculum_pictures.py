"""`curriculum` of a run: pictures of the record, shares as a table, mistakes as sentences."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.colors import to_rgb
from PIL import Image
from sample_figures import require_no_collision

from mtl.config import load_config, to_yaml
from mtl.errors import UserError
from mtl.report import curriculum_stats as stats
from mtl.report.curriculum_pictures import (
    caption,
    draw_curriculum,
    evenly,
    film,
    mosaics,
    sheet,
    strengths,
    tiles,
)
from mtl.report.figures.style import VERMILION
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training.curriculum import UNMET, Curriculum, percent, read, write
from mtl.training.run_data import load_run_data

TILE, INNER = 58, slice(5, 53)  # pixels of an image with its frame and margin; the image
HOSTILE = ("$x_1$ of $y", "a\nb\tc", "W" * 60, "a rather long name of a class, with words", "漢 字", "z" * 99)


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


def test_pictures_are_in_the_folder_of_the_run_or_elsewhere_and_the_same_each_time(run, tmp_path, capsys):
    before = {p.name for p in run.path.iterdir()}
    draw_curriculum(run.path, tmp_path / "new")
    assert {p.name for p in run.path.iterdir()} == before
    draw_curriculum(run.path)
    still, moving = run.path / "curriculum.png", run.path / "curriculum.gif"
    assert {p.name for p in run.path.iterdir()} == before | {still.name, moving.name}
    for path in (still, moving):
        assert path.read_bytes() == (tmp_path / "new" / path.name).read_bytes()
    with Image.open(still) as image:
        assert image.format == "PNG"
        assert image.width > 1500
    with Image.open(moving) as image:
        assert (image.format, image.n_frames) == ("GIF", 3)
    assert f"{still}, {moving}\n" in capsys.readouterr().out


def test_the_table_holds_the_shares(run, capsys):
    draw_curriculum(run.path)
    told = capsys.readouterr().out
    record = read(run.curriculum)
    found = stats.pace(record.weights)
    wrong = stats.pace(record.weights, record.mislabelled)
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
    never = int(stats.never(record.weights).sum())
    assert never > 0
    assert f"Never counted: {never}, " in told


def refused(folder: Path, match: str, out: Path | None = None) -> None:
    """One line, and nothing is drawn."""
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
    refused(run.path, "data.root: .*gone is not a folder")


@pytest.mark.parametrize("change", [{"label_noise": 0.3}, {"probe_fraction": 0.4}])
def test_other_images_than_those_of_the_record_are_refused(run, change):
    config = load_config(run.config)
    data = dataclasses.replace(config.data, **change)
    run.config.write_text(to_yaml(dataclasses.replace(config, data=data)), encoding="utf-8")
    refused(run.path, r"curriculum\.pt: was made of other images than those that .*config\.yaml leads to now")


def test_a_folder_that_cannot_be_written_to_is_told(run, tmp_path):
    (tmp_path / "file").touch()
    refused(run.path, r"curriculum\.png: the picture cannot be written \(", tmp_path / "file")


def make(epochs=12, wrong=0.3, names=None):
    """A record and its images: harder images enter later, mislabelled ones last, and some never."""
    random = generator(0, "curriculum of a test")
    labels = torch.arange(6).repeat_interleave(torch.tensor((60, 30, 30, 10, 6, 4)))
    mislabelled = torch.rand(len(labels), generator=random) < wrong
    hardness = torch.rand(len(labels), generator=random) + 0.5 * mislabelled
    weights = (1 - hardness / (0.2 + 1.2 * torch.arange(epochs)[:, None] / epochs)).clamp(0, 1)
    weights = (100 * weights).ceil().to(torch.int8)
    weights[torch.rand(weights.shape, generator=random) < 0.1] = UNMET
    images = torch.randint(0, 256, (len(labels) + 5, 3, 16, 16), generator=random, dtype=torch.uint8)
    rows = torch.randperm(len(images), generator=random)[: len(labels)].sort().values
    return Curriculum(rows, labels, mislabelled, weights, names or tuple("abcdef")), images


def test_tiles_are_the_images_of_the_record_with_wrong_labels_framed():
    record, _ = make()
    colours = torch.arange(3 * 145).view(145, 3).remainder(256).to(torch.uint8)
    places = torch.tensor([3, 50, 140 - 1, 7])
    found = tiles(record, colours[:, :, None, None].expand(-1, -1, 8, 8), places)
    assert found.shape == (4, 3, TILE, TILE)
    for tile, place in zip(found, places.tolist(), strict=True):
        expected = colours[record.images[place]].float() / 255
        assert (tile[:, INNER, INNER] - expected[:, None, None]).abs().max() < 1e-6
        frame = to_rgb(VERMILION) if record.mislabelled[place] else (1, 1, 1)
        assert tile[:, 3, 30].tolist() == pytest.approx(frame)
        assert (tile[:, 0] == 1).all()
    assert 0 < record.mislabelled[places].sum() < 4
    grey = tiles(record, colours[:, :1, None, None].expand(-1, -1, 8, 8), places)
    assert (grey[:, 0, INNER, INNER] == grey[:, 2, INNER, INNER]).all()


def test_images_of_the_film_are_as_strong_as_they_weigh():
    weights = torch.tensor([[100, 0, 0, 50], [0, 0, 100, UNMET], [UNMET, 0, 100, 1]], dtype=torch.int8)
    names, none = ("one", "two"), torch.zeros(4, dtype=torch.bool)
    record = Curriculum(torch.arange(4), torch.tensor([0, 1, 0, 1]), none, weights, names)
    images = torch.full((4, 1, 8, 8), 51, dtype=torch.uint8)
    rows = [torch.tensor([0, 2]), torch.tensor([3])]
    full, gone, barely = 0.2, 1 - 0.18 * 0.8, 1 - 0.55 * 0.8
    expected = {0: [full, gone, gone], 2: [gone, full, full], 3: [(full + barely) / 2] * 2 + [barely]}
    pages = mosaics(record, images, rows, [0, 1, 2])
    assert all(page.shape == (2 * TILE, 8 * TILE, 3) for page in pages)
    for row, places in enumerate(rows):
        for column, place in enumerate(places.tolist()):
            shown = [page[row * TILE :, column * TILE :][INNER, INNER] for page in pages]
            assert [float(picture.mean()) for picture in shown] == pytest.approx(expected[place])
            assert all(np.ptp(picture) < 1e-6 for picture in shown)
    assert (pages[0][TILE:, TILE:] == 1).all()  # where a class has no more images


def test_a_film_loops_at_three_frames_a_second_and_rests_on_the_last(monkeypatch):
    monkeypatch.setattr("mtl.report.curriculum_pictures._FRAMES", 6)
    with Image.open(io.BytesIO(film(*make(9, names=HOSTILE), 0))) as image:
        times = []
        for i in range(image.n_frames):
            image.seek(i)
            times.append(image.info["duration"])
            edges = np.asarray(image.convert("L"))
            assert min(edges[:, :5].min(), edges[:3].min(), edges[-3:].min()) > 245  # names and notes fit
        assert image.info["loop"] == 0  # for ever
    assert times == [330] * 5 + [2000]  # of a long pretraining some epochs alone
    assert film(*make(3), 0) == film(*make(3), 0) != film(*make(3), 1)


def test_the_sheet_shows_the_record():
    record, images = make()
    figure = sheet(record, images, "a run", 3)
    lines, heat_map, *strips = figure.axes
    shares = {line.get_label(): line.get_ydata() for line in lines.lines}
    groups = {"all": None, **stats.groups(record)}
    assert list(shares) == ["all", "mean v", *list(groups)[1:]]
    for name, among in groups.items():
        expected = 100 * stats.pace(record.weights, among).share.numpy()
        assert np.asarray(shares[name]) == pytest.approx(expected, nan_ok=True)
    order = stats.in_order(record.weights)
    means = np.ma.filled(heat_map.images[0].get_array().astype(float), np.nan)
    assert means == pytest.approx(stats.heat(record.weights, order, 300).numpy(), nan_ok=True)
    expected = stats.strips(record.weights, 14, 3)
    assert [strip.name for strip in expected] == ["First", "Midway", "Last", "Never"]
    for axes, strip in zip((a for a in strips if a.images), expected, strict=True):
        row = tiles(record, images, strip.shown).permute(2, 0, 3, 1).flatten(1, 2)
        assert np.array_equal(axes.images[0].get_array()[:, : row.shape[1]], row.numpy())
        names = [record.class_names[label] for label in record.labels[strip.shown].tolist()]
        assert [t.get_text() for t in axes.get_xticklabels()] == names
        colours = [t.get_color() == VERMILION for t in axes.get_xticklabels()]
        assert colours == record.mislabelled[strip.shown].tolist()


def test_captions_are_of_all_images_of_a_strip():
    weights = torch.tensor([[100, 100, 0, 0, 0], [100, 100, 100, 0, 0]], dtype=torch.int8)
    wrong = torch.tensor([False, True, False, True, True])
    record = Curriculum(torch.arange(5), torch.zeros(5, dtype=torch.int64), wrong, weights, ("one",))
    assert [caption(strip, record) for strip in stats.strips(weights, 1, 0)] == [
        "First: counted first in epoch 1: 2 images, 50 % of them mislabelled (framed)",
        "Last: counted first in epoch 2: 1 image, 0 % of them mislabelled (framed)",
        "Never: counted in no epoch: 2 images, 100 % of them mislabelled (framed)",
    ]


@pytest.mark.parametrize("names", [None, HOSTILE], ids=["plain", "hostile"])
@pytest.mark.parametrize("epochs", [1, 120])
def test_no_text_lies_over_another_or_beyond_the_sheet(names, epochs):
    require_no_collision(sheet(*make(epochs, names=names), "a run", 0))


@given(st.integers(1, 300), st.integers(2, 80))
def test_frames_are_even_and_hold_both_ends(count, most):
    found = evenly(count, most)
    assert len(found) == min(count, most)
    assert (found[0], found[-1]) == (0, count - 1)
    gaps = np.diff(found)
    assert len(gaps) == 0 or (gaps.min() >= 1 and np.ptp(gaps) <= 1)


@given(hnp.arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(-1, 100)))
def test_an_image_that_was_not_met_stays_as_it_was(weights):
    found = strengths(torch.from_numpy(weights))
    for p, column in enumerate(weights.T.tolist()):
        before = 0
        for e, weight in enumerate(column):
            before = before if weight == UNMET else weight
            expected = 0.55 + 0.45 * round(4 * before / 100) / 4 if before > 0 else 0.18
            assert float(found[e, p]) == pytest.approx(expected, abs=1e-6 if before % 25 != 12 else 0.12)
