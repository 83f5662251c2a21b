"""Ctrl-C: the first is a wish, the second an order, and afterwards all is as it was."""

import signal

import pytest

from mtl.runtime.process import Interrupted, StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_second_interrupts(number):
    before = signal.signal(number, signal.SIG_DFL)  # these tests may themselves run under nohup
    try:
        with StopRequest() as stop:
            assert not stop.wanted
            signal.raise_signal(number)
            assert stop.wanted
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.wanted
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("error", [None, ValueError])
def test_handlers_are_restored_however_it_ends(error):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    try:
        with StopRequest():
            assert signal.getsignal(signal.SIGINT) != before[0]
            if error:
                raise error
    except ValueError:
        pass
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_stage_that_stopped_on_a_wish_counts_as_interrupted():
    assert issubclass(Interrupted, KeyboardInterrupt)
