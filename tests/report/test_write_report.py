"""The report of tiny runs: whole, interrupted, without hard tasks or images, several at once."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from mtl.errors import UserError
from mtl.evaluation.evaluate import run
from mtl.ledger.queries import confused_pairs
from mtl.ledger.store import Ledger
from mtl.report import write_report as stage
from mtl.report.cards import Limits
from mtl.report.drawings import Drawings
from mtl.report.write_report import MOST_BYTES, limits_for, report, without_figures
from mtl.runtime.progress import Progress
from mtl.runtime.run_folder import RunFolder
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole_page(whole_run, tmp_path_factory):
    """The report of the whole run, with its figures as files beside it."""
    folder = tmp_path_factory.mktemp("whole_page")
    return report([whole_run.path], folder / "report.html", folder / "figures")


@pytest.fixture
def no_figures(monkeypatch):
    """Figures are not drawn, where a test is about something else; the names of those that would be."""
    names: list[str] = []
    monkeypatch.setattr(Drawings, "add", lambda _, name, *__: names.append(name))
    return names


def test_a_whole_run_becomes_one_page_that_needs_nothing_else(whole_run, whole_page):
    page = _text(whole_page)
    assert len(page.encode()) < MOST_BYTES
    for words in ("meta-train", "evaluate test 3-way 1-shot", "Pretrained, meta-trained, evaluated."):
        assert words in page
    assert page.count("<svg") > 5
    assert "data:image/png;base64," in page
    addresses = set(re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(https?:|//)", page))
    assert addresses == set()
    with Ledger.read(whole_run.ledger) as ledger:
        for pair in confused_pairs(ledger, "meta-train", 2):
            assert all(name in page for name in pair.classes)


def test_the_same_run_gives_the_same_page_to_the_byte(whole_run, whole_page, tmp_path):
    assert report([whole_run.path], tmp_path / "again.html").read_bytes() == whole_page.read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_the_page_stands_in_the_run_by_default(whole_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(whole_run.path, copy)
    assert report([copy]) == copy / "report.html"


def test_figures_are_written_on_demand_as_png_and_svg(whole_page):
    names = {path.name for path in (whole_page.parent / "figures").iterdir()}
    assert {n.removesuffix(".png") for n in names if n.endswith(".png")} == {
        n.removesuffix(".svg") for n in names if n.endswith(".svg")
    }
    assert any("meta-train-curves" in n for n in names)
    assert any("feature-space" in n for n in names)


def test_results_of_the_page_are_those_of_the_file(whole_run, whole_page):
    page = _text(whole_page)
    for setting in json.loads(_text(whole_run.results))["settings"]:
        for one in setting["scores"]:
            assert f"{100 * one['accuracy']:.2f}" in page


@pytest.mark.usefixtures("no_figures")
def test_several_runs_are_held_against_the_first(whole_run, tiny, tmp_path):
    other = tiny(run="other", hard_tasks={"sampler": "uniform"})
    run(other)
    folder = RunFolder.of(other)
    page = _text(report([whole_run.path, folder.path], tmp_path / "both.html"))
    assert "Of several runs each is shown with fewer tasks" in page
    a, b = (json.loads(_text(f.results))["settings"][0]["scores"][0]["accuracy"] for f in (whole_run, folder))
    assert f"{100 * abs(b - a):.2f}" in page


@pytest.mark.usefixtures("no_figures")
def test_two_folders_of_one_name_go_by_their_folders(whole_run, tmp_path):
    other = tmp_path / "other" / whole_run.path.name
    shutil.copytree(whole_run.path, other)
    page = _text(report([whole_run.path, other], tmp_path / "r.html"))
    assert f"Hard tasks of {whole_run.path}, {other}" in page


@pytest.mark.usefixtures("no_figures")
def test_a_ledger_damaged_in_its_middle_is_named(whole_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole_run.path, folder)
    ledger = RunFolder(folder).ledger
    size = ledger.stat().st_size
    with ledger.open("r+b") as file:
        file.seek(8192)
        file.write(b"\x5a" * (size - 8192))
    with pytest.raises(UserError, match="damaged"):
        report([folder], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.usefixtures("no_figures")
def test_a_page_follows_links_and_spares_what_is_no_file(whole_run, tmp_path):
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    target.write_text("old")
    link.symlink_to(target)
    report([whole_run.path], link)
    assert link.is_symlink()
    assert _text(target).startswith("<!")
    with pytest.raises(UserError, match="is not a file"):
        report([whole_run.path], tmp_path)


def test_a_run_given_twice_is_refused(whole_run):
    with pytest.raises(UserError, match="is given twice"):
        report([whole_run.path, whole_run.path])


class Killed(BaseException):
    """What no stage catches."""


@pytest.mark.parametrize("stage", ["pretrain", "meta-train"])
def test_an_interrupted_run_is_reported_as_far_as_it_got(stage, tiny, monkeypatch):
    config = tiny(runtime={"checkpoint_seconds": 0})
    plain = Progress.step

    def step(self, **numbers):
        plain(self, **numbers)
        if self.stage == stage and self.done == 2:
            raise Killed

    monkeypatch.setattr(Progress, "step", step)
    with pytest.raises(Killed):
        run(config)
    page = _text(report([RunFolder.of(config).path]))
    assert "interrupted, or still going on" in page


def test_a_run_without_hard_tasks_is_reported(tiny):
    config = tiny(hard_tasks={"sampler": "uniform"}, evaluate={"resample": {"rounds": 0}})
    pretrain(config)
    meta_train(config)
    assert "meta-train" in _text(report([RunFolder.of(config).path]))


def test_an_empty_ledger_is_reported(tiny, from_pretrained):
    config = tiny()
    folder = from_pretrained(config)
    folder.write_config(config)
    with Ledger.open(folder.ledger):
        pass
    assert "Pretrained." in _text(report([folder.path]))


@pytest.mark.usefixtures("no_figures")
def test_without_its_images_a_run_is_reported_in_words(whole_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(whole_run.path, copy)
    moved = RunFolder(copy)
    moved.config.write_text(re.sub(r"root: \S+", "root: /nowhere,", _text(moved.config)))
    page = _text(report([copy]))
    assert "Pictures are left out" in page
    assert "<img" not in page


@pytest.mark.usefixtures("no_figures")
def test_from_another_folder_the_images_are_found_and_nothing_but_the_page_is_written(
    whole_run, image_root, tmp_path, monkeypatch
):
    home, here = tmp_path / "home", tmp_path / "here"
    shutil.copytree(whole_run.path, home / "runs" / "tiny")
    shutil.copytree(image_root, home / "photos", ignore=shutil.ignore_patterns(".cache"))
    here.mkdir()
    folder = RunFolder(home / "runs" / "tiny")
    config = whole_run.read_config()
    data = dataclasses.replace(config.data, root="photos")
    folder.write_config(dataclasses.replace(config, checkpoints="runs", data=data))
    monkeypatch.chdir(here)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    page = _text(report([folder.path], here / "r.html"))
    assert "data:image/png;base64," in page
    assert "Pictures are left out" not in page
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before == {here / "r.html"}


def test_pictures_of_other_images_are_left_out_and_said_to_be(whole_run, no_figures, tmp_path, monkeypatch):
    plain = load_run_data

    def other(config):
        found = plain(config)
        test = dataclasses.replace(found.splits.test, images=255 - found.splits.test.images)
        return dataclasses.replace(found, splits=dataclasses.replace(found.splits, test=test))

    monkeypatch.setattr(stage, "load_run_data", other)
    page = _text(report([whole_run.path], tmp_path / "r.html"))
    assert "Pictures of meta-train are left out" not in page
    assert "Pictures of evaluate test 3-way 1-shot are left out: the images are not those of the run." in page
    assert any("curves" in name for name in no_figures)
    assert not any("feature space" in name for name in no_figures)


def test_a_page_that_would_be_too_large_does_without_figures_and_says_so(
    whole_run, whole_page, tmp_path, monkeypatch
):
    whole = _text(whole_page)
    monkeypatch.setattr(stage, "MOST_BYTES", 1000)
    last_but_one = limits = Limits()
    while limits != limits.smaller():
        last_but_one, limits = limits, limits.smaller()
    monkeypatch.setattr(stage, "limits_for", lambda _: last_but_one)
    written: list[Path] = []
    projected, project = [], stage.space.project_features
    monkeypatch.setattr(stage.space, "project_features", lambda *of: projected.append(1) or project(*of))
    monkeypatch.setattr("mtl.report.drawings.save", lambda _, stem: written.append(stem))
    small = _text(report([whole_run.path], tmp_path / "small.html", tmp_path / "figures"))
    assert len(small) < len(whole)
    assert "left out to keep the page small" in small
    assert "left out to keep the page small" not in whole
    assert "training curves" in small.lower()
    assert {stem.name for stem in written} == {
        path.stem for path in (whole_page.parent / "figures").glob("*.png")
    }
    assert len(projected) == 1  # each figure is drawn once, whatever fits into the page


def test_of_more_runs_less_is_shown_of_each():
    once = Limits().smaller()
    twice = once.smaller()
    assert [limits_for(n) for n in (1, 2, 3, 4, 5)] == [Limits(), once, twice, twice, twice.smaller()]


def test_curves_and_comparisons_are_the_figures_that_stay(full_report):
    small = without_figures(full_report)
    for brief, whole in zip(small.runs, full_report.runs, strict=True):
        assert brief.space is None
        assert brief.curves == whole.curves
        for phase, all_ in zip(brief.phases, whole.phases, strict=True):
            assert (phase.confusion, phase.boosting, phase.draw_share, phase.improvement) == (None,) * 4
            assert (phase.class_map, phase.pair_map) == (None, None)
            assert phase.neighbourhoods == all_.neighbourhoods
            assert (phase.tasks, phase.classes, phase.pairs) == (all_.tasks, all_.classes, all_.pairs)
            assert phase.improvement_note == all_.improvement_note
    assert small.comparison == full_report.comparison
    assert len(small.notes) == len(full_report.notes) + 1
