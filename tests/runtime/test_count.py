"""Counting what is done: a bar in a terminal, lines in a log file, nothing where quiet is asked."""

import io

import pytest

from mtl.config import Log
from mtl.runtime import progress as module
from mtl.runtime.progress import Count


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def now(monkeypatch):
    """The clock, in a list of one."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def _counted(stream, now, log=None, steps=4):
    with Count("pictures", 4000, log, stream) as count:
        for _ in range(steps):
            now[0] += 15
            count.add(1000)


def test_a_log_file_gets_a_line_now_and_then(now):
    log = io.StringIO()
    _counted(log, now)
    assert log.getvalue() == "pictures: 2,000/4,000, 0:30 left\n"


def test_what_is_quickly_done_is_not_told(now):
    log = io.StringIO()
    _counted(log, now, Log(every_seconds=61))
    assert log.getvalue() == ""


def test_a_terminal_gets_a_bar_that_goes_away(now):
    terminal = Terminal()
    _counted(terminal, now, steps=3)
    assert "pictures |" in terminal.getvalue()
    assert "/4000" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")
    assert "\n" not in terminal.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_quiet_is_quiet(now, stream):
    shown = stream()
    _counted(shown, now, Log(every_seconds=0, quiet=True))
    assert shown.getvalue() == ""
