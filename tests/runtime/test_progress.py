"""What is shown of a stage: lines in a log file, a bar in a terminal; and the numbers that are shown."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.config import Log
from mtl.runtime import progress as module
from mtl.runtime.progress import Count, Means, Progress, Smoothed, duration, tell

SOME = st.floats(-1e3, 1e3)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def now(monkeypatch):
    """The clock, in a list of one."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def _steps(progress, now, count, seconds, **numbers):
    for _ in range(count):
        now[0] += seconds
        progress.step(**{"images": 32, "loss": 1 / 3, "accuracy": 0.5, **numbers})


def test_a_log_file_gets_a_plain_line_now_and_then_and_one_at_the_end(now):
    log = io.StringIO()
    with Progress("pretrain", 100, stream=log) as progress:
        _steps(progress, now, 100, 0.5, hard="7 (+2)", epoch=1)
        progress.say("val 61.20")
    assert log.getvalue().splitlines() == [
        "pretrain: 2/100, loss 0.333, accuracy 0.500, 0:49 left, hard 7 (+2), epoch 1, 64 images/s",
        "pretrain: 42/100, loss 0.333, accuracy 0.500, 0:29 left, hard 7 (+2), epoch 1, 64 images/s",
        "pretrain: 82/100, loss 0.333, accuracy 0.500, 0:09 left, hard 7 (+2), epoch 1, 64 images/s",
        "pretrain: 100/100, loss 0.333, accuracy 0.500, hard 7 (+2), epoch 1, 64 images/s",
        "pretrain: val 61.20",
    ]


@pytest.mark.parametrize(("every", "lines"), [(0.0, 6), (2.0, 4), (5.0, 2), (60.0, 2)])
def test_the_config_says_how_often_a_line_comes(now, every, lines):
    log = io.StringIO()
    with Progress("pretrain", 6, log=Log(every_seconds=every), stream=log) as progress:
        _steps(progress, now, 6, 1.0)
    assert len(log.getvalue().splitlines()) == lines


def test_a_stage_that_goes_on_shows_time_and_speed_of_this_sitting_alone(now):
    log = io.StringIO()
    with Progress("pretrain", 1000, start=900, log=Log(every_seconds=0), stream=log) as progress:
        _steps(progress, now, 2, 10.0, images=50)
    last = log.getvalue().splitlines()[-1]
    assert last == "pretrain: 902/1000, loss 0.333, accuracy 0.500, 16:20 left, 5 images/s"


def test_a_step_that_took_no_time_has_no_speed(now):
    log = io.StringIO()
    with Progress("pretrain", 1, stream=log) as progress:
        _steps(progress, now, 1, 0.0)
    assert log.getvalue() == "pretrain: 1/1, loss 0.333, accuracy 0.500\n"


def test_numbers_are_smoothed_and_images_of_all_steps_count_towards_the_speed(now):
    log = io.StringIO()
    with Progress("pretrain", 3, stream=log) as progress:
        _steps(progress, now, 1, 1.0, loss=1.0, accuracy=0.0)
        _steps(progress, now, 1, 1.0, loss=3.0, accuracy=1.0, images=3000)
        _steps(progress, now, 1, 1.0, loss=3.0, accuracy=1.0, images=0)
    weight = 1 + 0.98 + 0.98**2
    loss, accuracy = (0.98**2 * 1 + 0.98 * 3 + 3) / weight, 1.98 / weight
    assert f"loss {loss:.3f}, accuracy {accuracy:.3f}, 1,500 images/s" in log.getvalue()


def test_what_precedes_the_first_step_counts_neither_towards_time_left_nor_speed(now):
    log = io.StringIO()
    with Progress("meta-train", 10, log=Log(every_seconds=0), stream=log) as progress:
        _steps(progress, now, 1, 100.0)  # a round that looks at all images
        _steps(progress, now, 1, 2.0)
    assert log.getvalue().splitlines() == [
        "meta-train: 1/10, loss 0.333, accuracy 0.500",
        "meta-train: 2/10, loss 0.333, accuracy 0.500, 0:16 left, 16 images/s",
    ]


def test_a_terminal_gets_a_bar_with_the_numbers_beside_it(now):
    screen = Terminal()
    with Progress("pretrain", 4, start=1, stream=screen) as progress:
        progress.bar.mininterval = 0
        _steps(progress, now, 3, 2.0)
        progress.say("val 61.20")
    shown = screen.getvalue()
    assert "\r" in shown
    assert "3/4, loss 0.333, accuracy 0.500, 0:02 left, 16 images/s" in shown
    assert "4/4, loss 0.333, accuracy 0.500, 16 images/s" in shown
    assert "pretrain: val 61.20\n" in shown


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [
        (85, "loss 0.333, accuracy 0.500, 0:30 left, hard 7 (+2), 32 images/s"),
        (84, "loss 0.333, accuracy 0.500, 0:30 left, hard 7 (+2)"),
        (60, "loss 0.333, accuracy 0.500, 0:30 left"),
        (20, ""),
    ],
)
def test_a_narrow_terminal_gets_what_matters_most(now, monkeypatch, columns, numbers):
    with Progress("meta-train", 32, stream=Terminal()) as progress:
        monkeypatch.setattr(progress.bar, "dynamic_ncols", lambda file: (columns, 24))
        _steps(progress, now, 2, 1.0, hard="7 (+2)")
        assert progress.bar.postfix == numbers
        assert len(str(progress.bar)) <= columns


def _counted(stream, now, log=None, steps=4, seconds=15.0):
    with Count("pictures", 4000, log, stream) as count:
        for _ in range(steps):
            now[0] += seconds
            count.add(1000)


def test_a_count_shows_lines_in_a_log_file_if_it_takes_over_a_second(now):
    first, later = "pictures: 1,000/4,000, 0:45 left\n", "pictures: 3,000/4,000, 0:15 left\n"
    for every, seconds, lines in ((20, 15.0, first + later), (61, 15.0, first), (20, 0.2, "")):
        log = io.StringIO()
        _counted(log, now, Log(every_seconds=every), seconds=seconds)
        assert log.getvalue() == lines


def test_a_count_in_a_terminal_is_a_bar_that_goes_away(now):
    terminal = Terminal()
    _counted(terminal, now, steps=3)
    assert "pictures |" in terminal.getvalue()
    assert "/4000" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")
    assert "\n" not in terminal.getvalue()


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_quiet_shows_nothing(now, stream):
    shown, quiet = stream(), Log(every_seconds=0, quiet=True)
    with Progress("pretrain", 3, log=quiet, stream=shown) as progress:
        _steps(progress, now, 3, 1.0)
        progress.say("val 61.20")
    _counted(shown, now, quiet)
    tell("seed 3", quiet, shown)
    assert shown.getvalue() == ""
    tell("seed 3", Log(), shown)
    assert shown.getvalue() == "seed 3\n"


@given(st.lists(SOME, min_size=1, max_size=40), st.sampled_from([0.0, 0.5, 0.9, 0.98]))
def test_smoothed_is_the_weighted_mean_of_all_values(values, keep):
    smoothed = Smoothed(keep)
    means = [smoothed.add(v) for v in values]
    for t in range(1, len(values) + 1):
        weights = keep ** np.arange(t)[::-1].astype(float)
        assert means[t - 1] == pytest.approx(np.average(values[:t], weights=weights), abs=1e-9)


@given(st.lists(st.tuples(SOME, SOME), min_size=1, max_size=20))
def test_means_are_of_all_steps_since_they_were_taken(pairs):
    means = Means()
    for _ in range(2):  # the second time they begin anew
        for loss, accuracy in pairs:
            means.add(loss=loss, accuracy=accuracy)
        expected = np.mean(pairs, axis=0)
        assert list(means.take().values()) == pytest.approx(expected, abs=1e-9)
    assert means.take() == {}


@given(st.lists(SOME, min_size=1, max_size=20), st.data())
def test_means_go_on_from_a_checkpoint_to_the_bit_and_do_not_change_it(values, data):
    stops = data.draw(st.sets(st.integers(0, len(values) - 1)))
    whole, stopped = Means(), Means(None)
    for number, value in enumerate(values):
        if number in stops:
            state = stopped.state_dict()
            stopped.add(loss=99.0)
            stopped = Means(state)
        whole.add(loss=value)
        stopped.add(loss=value)
    assert stopped.take() == whole.take()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text
