"""What is shown of a stage: lines in a log file, a bar in a terminal."""

import io

from mtl.runtime import progress as module
from mtl.runtime.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_file_gets_a_plain_line_now_and_then_and_one_at_the_end(monkeypatch):
    now, log = _clock(monkeypatch), io.StringIO()
    with Progress("pretrain", 100, seconds=20, stream=log) as progress:
        for _ in range(100):
            now[0] += 0.5
            progress.step(loss=1 / 3, best="none")
    assert log.getvalue().splitlines() == [
        "pretrain: 41/100 loss 0.333 best none",
        "pretrain: 82/100 loss 0.333 best none",
        "pretrain: 100/100 loss 0.333 best none",
    ]


def test_a_stage_that_goes_on_counts_from_where_it_was():
    log = io.StringIO()
    with Progress("pretrain", 5, start=4, stream=log) as progress:
        progress.step(loss=1.0)
    assert log.getvalue() == "pretrain: 5/5 loss 1.000\n"


def test_a_line_of_its_own_names_the_stage():
    log = io.StringIO()
    with Progress("pretrain", 5, stream=log) as progress:
        progress.say("val 61.20")
    assert log.getvalue() == "pretrain: val 61.20\n"


def test_a_terminal_gets_a_bar_with_the_numbers_beside_it():
    screen = Terminal()
    with Progress("pretrain", 4, start=1, stream=screen) as progress:
        for _ in range(3):
            progress.bar.mininterval = 0
            progress.step(loss=0.25)
        progress.say("val 61.20")
    shown = screen.getvalue()
    assert "\r" in shown
    assert "4/4" in shown
    assert "loss=0.250" in shown
    assert "pretrain: val 61.20\n" in shown
