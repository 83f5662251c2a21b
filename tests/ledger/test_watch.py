"""A ledger followed while it is written: what is shown when, and that its writer never waits."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mtl import cli
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.errors import UserError
from mtl.ledger import watch as module
from mtl.ledger.store import Ledger
from mtl.ledger.watch import changes, follow


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "checkpoints" / "run"
    folder.mkdir(parents=True)
    return folder / "hard_tasks.sqlite"


@pytest.fixture
def writer(path):
    with Ledger.open(path) as ledger:
        yield ledger


@pytest.fixture
def between(monkeypatch):
    """What happens between one look and the next, each in turn; Ctrl-C after the last."""

    def patch(*happenings):
        coming, waited = list(happenings), []

        def sleep(seconds):
            waited.append(seconds)
            if not coming:
                raise KeyboardInterrupt
            coming.pop(0)()

        monkeypatch.setattr(module.time, "sleep", sleep)
        return waited

    return patch


def _nothing():
    pass


def _solve(ledger, phase="meta-train"):
    """One more episode, not committed."""
    classes = torch.tensor([[0, 1]])
    images = torch.zeros(1, 2, 1, dtype=torch.int64)
    batch = EpisodeBatch(classes, images, images, ("uniform",), (0,))
    half = torch.full((1, 2), 0.5)
    ledger.append(
        phase, 0, 0, batch, Outcome(half[:, 0], half[:, 0], half, half[:, :, None].expand(1, 2, 2)), phase
    )


def _commit(ledger, phase="meta-train"):
    _solve(ledger, phase)
    ledger.commit("some")


def _followed(path, out=None, **options):
    out = out or io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        follow(path, out=out, **options)
    return out.getvalue()


def test_views_are_shown_again_when_something_was_committed(path, writer, between):
    _commit(writer)
    between(_nothing, lambda: _commit(writer), _nothing, _nothing, lambda: _commit(writer))
    first, second, third = _followed(path).split("─" * 80 + "\n")
    assert first.startswith("meta-train: 1 episode, ")
    assert second.startswith("meta-train: 2 episodes, ")
    assert third.startswith("meta-train: 3 episodes, ")


@pytest.mark.parametrize("written", ["nothing new", "not committed"])
def test_what_changes_nothing_in_the_last_commit_is_not_shown(path, writer, between, written):
    _commit(writer)
    between(*{
        "nothing new": (lambda: writer.commit("other"), lambda: writer.commit("another")),
        "not committed": (lambda: _solve(writer), _nothing),
    }[written])  # fmt: skip
    assert _followed(path).count("meta-train: ") == 1


def test_two_commits_within_one_tick_of_the_file_system_are_both_shown(path, writer, between, monkeypatch):
    """Sizes and times of the files may be those that they were at the last look."""
    _commit(writer)
    monkeypatch.setattr(module, "_state", lambda path: "the same")
    between(lambda: _commit(writer))
    assert "meta-train: 2 episodes" in _followed(path)


def test_files_that_did_not_change_for_long_are_not_read_again(path, writer, between, monkeypatch):
    _commit(writer)
    reads, plain = [], Ledger.read
    monkeypatch.setattr(module.Ledger, "read", lambda path: reads.append(path) or plain(path))
    monkeypatch.setattr(module, "_SETTLED", -1e9)  # what was just written counts as long ago
    between(_nothing, _nothing, lambda: _commit(writer), _nothing)
    _followed(path)
    assert len(reads) == 2


def test_a_ledger_that_is_not_there_yet_is_waited_for(path, between, capsys):
    def make():
        with Ledger.open(path) as ledger:
            _commit(ledger)

    waited = between(_nothing, path.touch, _nothing, make)
    assert _followed(path, every=7.5).startswith("meta-train: 1 episode")
    assert waited == [7.5] * 5
    out, err = capsys.readouterr()
    assert (out, err.count(f"{path}: there is no ledger yet;")) == ("", 1)


def test_the_runs_there_are_are_named_where_one_is_misspelt(tmp_path, between, capsys):
    for name in ("birds", "quickstart"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    between(_nothing)
    _followed(tmp_path / "quickstrat" / "hard_tasks.sqlite")
    assert "has no run quickstrat, it holds: birds, quickstart\n" in capsys.readouterr().err
    between(_nothing)
    _followed(tmp_path / "birds" / "hard_tasks.sqlite")
    assert "has no run" not in capsys.readouterr().err


def test_a_ledger_without_episodes_says_so(path, writer, between):
    between(lambda: _commit(writer))
    assert _followed(path).startswith(f"{path}: the ledger holds no episodes yet.\n──")


def test_json_is_an_object_a_line(path, writer, between):
    _commit(writer)
    between(_nothing, lambda: _commit(writer))
    lines = _followed(path, format="json").splitlines()
    assert [json.loads(line)["phases"][0]["episodes"] for line in lines] == [1, 2]


def test_a_terminal_is_cleared_before_everything_is_shown_again(path, writer, between, monkeypatch):
    monkeypatch.setenv("LINES", "10")  # nothing is cut to it
    monkeypatch.setenv("TERM", "xterm")
    _commit(writer, "evaluate")
    between(_nothing, lambda: _commit(writer, "meta-train"))
    first, second = _followed(path, out=Terminal()).split("\x1b[2J")[1:]
    assert "evaluate: 1 episode," in first
    assert "evaluate: 1 episode," in second
    assert "meta-train: 1 episode," in second
    assert second.count("Most confused pairs") == 2
    assert "─" * 80 not in second


def test_a_terminal_is_redrawn_at_its_new_width(path, writer, between, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    writer.register_classes("meta-train", {0: "a long name " * 9, 1: "another long name " * 9})
    _commit(writer)
    between(lambda: monkeypatch.setenv("COLUMNS", "120"))
    shown = _followed(path, out=Terminal())
    assert 80 < max(map(len, shown.splitlines())) <= 120
    assert shown.count("meta-train: 1 episode,") == 2


def test_a_terminal_says_that_the_stage_has_ended(path, between):
    writer = Ledger.open(path)
    _commit(writer)
    between(_nothing, writer.close)
    shown = _followed(path, out=Terminal())
    _, before, after = shown.split("meta-train: 1 episode,")
    assert "No stage is writing it now." not in before
    assert after.endswith("No stage is writing it now.\n")


@pytest.mark.parametrize("every", [0.0, 0.002])
def test_reader_and_writer_do_not_block_each_other(path, every, monkeypatch):
    """While one reads without rest, the other commits and checkpoints; neither fails, nothing is lost."""
    commits, seen, sleep = 150, [], module.time.sleep

    def write():
        with Ledger.open(path) as ledger:
            for _ in range(commits):
                _commit(ledger)

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write)

        def unless_it_failed(seconds):
            if writing.done():
                writing.result()
            sleep(seconds)

        monkeypatch.setattr(module.time, "sleep", unless_it_failed)
        for text in changes(path, lambda ledger: str([p.episodes for p in ledger.phases()]), every):
            seen.append(text)
            if text == f"[{commits}]":
                break
    numbers = [sum(json.loads(text)) for text in seen]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == commits


def test_nothing_is_held_between_two_looks(path, writer, between):
    """A write-ahead log can only be emptied while no one reads."""
    _commit(writer)
    emptied = []

    def empty():
        writer.sql.execute("COMMIT")
        emptied.append(writer.sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
        writer.sql.execute("BEGIN IMMEDIATE")

    between(empty, lambda: _commit(writer), empty)
    _followed(path)
    assert emptied == [(0, 0, 0)] * 2


def test_ledgers_that_are_just_being_created_are_no_mistake(tmp_path):
    for number in range(20):
        path = tmp_path / f"{number}.sqlite"

        def make(path=path):
            with Ledger.open(path) as ledger:
                _commit(ledger)

        with ThreadPoolExecutor() as pool:
            writing = pool.submit(make)
            found = changes(path, lambda ledger: str([p.episodes for p in ledger.phases()]), 0.0)
            while next(found) != "[1]":
                pass
            writing.result()


def test_a_writer_that_ends_takes_its_log_along(path, between):
    with Ledger.open(path) as ledger:
        _commit(ledger)
        assert len(module._stats(path)) == 2
    assert len(module._stats(path)) == 1
    between(_nothing)
    assert _followed(path).count("meta-train: 1 episode") == 1


def test_a_folder_that_is_a_file_has_no_ledger_yet(path, between, capsys):
    path.touch()
    between(_nothing)
    assert _followed(path / "hard_tasks.sqlite") == ""
    assert "there is no ledger yet" in capsys.readouterr().err


def test_a_file_that_stays_no_ledger_is_refused(path, between, monkeypatch):
    path.write_text("no SQLite file, and long enough to be taken for one" * 20)
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    between(lambda: now.__setitem__(0, 0.9), lambda: now.__setitem__(0, 1.1), lambda: pytest.fail("late"))
    with pytest.raises(UserError, match="this file is not a ledger"):
        follow(path, out=io.StringIO())


def test_a_wrong_number_of_rows_is_refused(path, writer, between):
    _commit(writer)
    between(lambda: pytest.fail("late"))
    with pytest.raises(UserError, match="top: 0"):
        follow(path, top=0, out=io.StringIO())


@pytest.mark.parametrize(
    ("flags", "seconds"), [([], 30.0), (["--every", "0.5"], 0.5), (["--format", "json"], 2.0)], ids=str
)
def test_the_command_line_says_how_often_and_ctrl_c_ends_it_with_130(
    path, writer, between, capsys, flags, seconds
):
    _commit(writer)
    waited = between()
    assert cli.main(["hard-tasks", str(path.parent), "--follow", "--top", "3", *flags]) == 130
    out, err = capsys.readouterr()
    if "json" in flags:
        assert json.loads(out)["phases"][0]["episodes"] == 1
    else:
        assert out.startswith("meta-train: 1 episode,")
    assert err == "interrupted\n"
    assert waited == [seconds]


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        (["--follow", "--format", "csv"], "--format csv: "),
        (["--follow", "--round", "3"], "--round: "),
        (["--every", "3"], "--every: "),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path, flags, key, capsys):
    assert cli.main(["hard-tasks", str(tmp_path), *flags]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {key}")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e9", "often"])
def test_a_wrong_time_is_refused(tmp_path, seconds, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["hard-tasks", str(tmp_path), "--follow", f"--every={seconds}"])
    assert caught.value.code == 2
    assert f"argument --every: '{seconds}' is not allowed" in capsys.readouterr().err
