"""A reader that leaves, a closed or a full output: the command does its work and only the words are lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtl import cli

ROOT = Path(__file__).parents[1]
FULL = Path("/dev/full")
CLASSES = ("ash", "elm")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and /dev/full are those of POSIX")


@pytest.fixture(scope="module")
def home(whole_run, image_root, tmp_path_factory):
    """Own pictures, and a classifier of them."""
    home = tmp_path_factory.mktemp("own")
    (home / "new").mkdir()
    for number, name in enumerate(CLASSES):
        (home / "things" / name).mkdir(parents=True)
        first, *others = sorted((image_root / "test" / f"test {number:02d}").iterdir())[:4]
        shutil.copyfile(first, home / "new" / f"{name}.png")
        for file in others:
            shutil.copy(file, home / "things" / name)
    assert cli.main(_fit(whole_run, home, home)) == 0
    return home


def _fit(run, home, out):
    return [
        "fit",
        "--run",
        str(run.path),
        "--support",
        str(home / "things"),
        "--out",
        f"{out}/c.fewshot",
        "-q",
    ]


def _predict(home, out):
    asked = ["--classifier", f"{home}/c.fewshot", "--query", f"{home}/new", "--out", f"{out}/a.csv"]
    return ["predict", *asked, "--overwrite", "-q"]


@pytest.fixture
def pipe():
    """The writing end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as stream:
        yield stream


@pytest.fixture(params=["a pipe without reader", "closed"])
def unread(request, monkeypatch, pipe):
    """Makes standard output one that nobody will read, within a test: pytest sets its own before that."""

    def put():
        stream = None if request.param == "closed" else pipe
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return put


def test_files_are_written_though_nobody_reads(unread, home, whole_run, tmp_path, capfd):
    stream = unread()
    assert cli.main(_fit(whole_run, home, tmp_path)) == 0
    assert cli.main(_predict(home, tmp_path)) == 0
    assert sys.stdout is stream
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.html", "c.fewshot"]
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + len(CLASSES)
    assert capfd.readouterr().err == ""


def test_what_only_shows_ends_well_though_nobody_reads(unread, whole_run, capfd):
    unread()
    follow, log = ("--follow", "--format", "json", "--every", "0.01"), ("--format", "jsonl")
    for command in (["hard-tasks"], ["hard-tasks", *follow], ["hard-tasks", *log]):
        assert cli.main([*command, str(whole_run.path)]) == 0
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    assert capfd.readouterr().err == ""


def test_nobody_who_reads_the_progress_changes_nothing(home, tmp_path, monkeypatch, pipe):
    monkeypatch.setattr(sys, "stderr", pipe)
    assert cli.main(_predict(home, tmp_path)[:-1]) == 0
    assert cli.main(["report", str(tmp_path)]) == 2
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_words_that_find_no_room_are_told_once_the_files_are_there(home, tmp_path, monkeypatch, capfd):
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(_predict(home, tmp_path)) == 1
        monkeypatch.undo()
    told = capfd.readouterr().err
    assert told == "stopped: standard output: cannot be written (No space left on device)\n"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("after", ["| true", ">&-", ">&- 2>&- <&-"])
def test_a_process_ends_with_0_and_nothing_on_standard_error(tmp_path, after):
    line = f"set -o pipefail; {sys.executable} {ROOT / 'run_meta.py'} --help {after}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
