"""Keeping freed memory: agreed to where the C library can, and nothing is computed otherwise."""

import platform
import subprocess
import sys

import pytest

from mtl.config import Runtime
from mtl.runtime.devices import choose_device, keep_freed_memory

# Pages that had to be found for 20 large buffers, one after another, once the first is there.
COUNT = """
import resource, sys, torch
from mtl.runtime.devices import keep_freed_memory
if sys.argv[1] == "keep": keep_freed_memory()
torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how):
    found = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks the C library glibc")
def test_buffers_are_used_again():
    assert keep_freed_memory()
    assert _faults("keep") < _faults("no") / 2


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


@pytest.mark.parametrize("keep", [True, False])
def test_the_config_decides(monkeypatch, keep):
    asked = []
    monkeypatch.setattr("mtl.runtime.devices.keep_freed_memory", lambda: asked.append(True))
    choose_device(Runtime(device="cpu", keep_memory=keep))
    assert asked == [True] * keep
