"""Devices: what the config names, or a sentence; precision only rounds, and `auto` takes the faster one."""

import platform
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Backbone, Config, Log, Runtime, load_config
from mtl.errors import UserError
from mtl.models.backbones import build_backbone
from mtl.runtime import devices
from mtl.runtime.devices import (
    choose_device,
    fastest_precision,
    keep_freed_memory,
    settle_precision,
    trial,
)
from mtl.runtime.run_folder import RunFolder
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain


@pytest.mark.parametrize("name", ["cuda", "mps", "auto"])
def test_a_device_that_is_not_there_is_one_sentence_and_auto_is_the_processor(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    if name == "auto":
        assert choose_device(Runtime()).torch_device == torch.device("cpu")
        return
    with pytest.raises(UserError, match=rf"runtime\.device: {name} .*\(available: cpu\)$"):
        choose_device(Runtime(device=name))


def test_auto_is_the_accelerator_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(Runtime()).torch_device == torch.device("cuda")
    assert choose_device(Runtime(device="cpu")).torch_device == torch.device("cpu")


def test_threads_are_set_where_they_are_given():
    before = torch.get_num_threads()
    try:
        for threads in (3, 0):
            choose_device(Runtime(device="cpu", threads=threads))
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_are_those_of_the_plain_network_and_bfloat16_only_rounds(precision):
    network = build_backbone(Backbone(channels=(16,) * 4), 3, 32, torch.Generator().manual_seed(0)).eval()
    device = choose_device(Runtime(device="cpu", precision=precision))
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features, plain = device.forward(device.place(network), images), network(images)
    assert features.dtype == torch.float32
    if precision == "float32":
        torch.testing.assert_close(features, plain)
    else:
        assert not torch.equal(features, plain)
        assert F.cosine_similarity(features, plain).min() > 0.999


def test_a_processor_takes_so_many_pixels_at_once_and_gathers_images_where_they_are():
    device = choose_device(Runtime(device="cpu"))
    assert [device.images_at_once(size) for size in (32, 84, 5000)] == [1024, 148, 1]
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert device.hold(images) is images


# Pages that had to be found for 20 large buffers, one after another, once the first is there.
_COUNT = """
import resource, sys, torch
from mtl.runtime.devices import keep_freed_memory
if sys.argv[1] == "keep": keep_freed_memory()
torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(mode):
    found = subprocess.run([sys.executable, "-c", _COUNT, mode], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks the C library glibc")
def test_buffers_are_used_again():
    assert keep_freed_memory()
    assert _faults("keep") < _faults("no") / 2


def test_memory_is_kept_if_the_config_says_so_and_the_system_can(monkeypatch):
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(devices, "keep_freed_memory", lambda: calls.append(True))
        for keep in (True, False):
            choose_device(Runtime(device="cpu", keep_memory=keep))
    assert calls == [True]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


def _config(precision, **log):
    return Config(runtime=Runtime(device="cpu", precision=precision), log=Log(**log))


@pytest.fixture
def takes(monkeypatch):
    """Sets the times of the trial: bfloat16 over float32."""
    return lambda ratio: monkeypatch.setattr(devices, "trial", lambda: ratio)


@pytest.mark.parametrize(("ratio", "chosen"), [(0.5, "bfloat16"), (3.0, "float32")])
def test_the_faster_precision_is_chosen_and_reported_unless_quiet(takes, capsys, ratio, chosen):
    takes(ratio)
    assert settle_precision(_config("auto")).runtime.precision == chosen
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert chosen in line
    assert f"{ratio:.1f}" in line
    settle_precision(_config("auto", quiet=True))
    assert capsys.readouterr().err == ""


def test_what_a_checkpoint_records_is_kept(takes):
    takes(0.5)
    assert settle_precision(_config("auto"), "float32").runtime.precision == "float32"
    assert settle_precision(_config("auto"), "auto").runtime.precision == "bfloat16"
    assert settle_precision(_config("bfloat16"), "float32").runtime.precision == "bfloat16"


@pytest.mark.parametrize("ratio", [0.5, 3.0])
@pytest.mark.parametrize(("precision", "recorded"), [("bfloat16", None), ("auto", "bfloat16")])
def test_bfloat16_that_is_slow_here_is_kept_and_reported(takes, capsys, precision, recorded, ratio):
    takes(ratio)
    assert settle_precision(_config(precision), recorded).runtime.precision == "bfloat16"
    assert ("runtime.precision=float32" in capsys.readouterr().err) is (ratio > 1)


def test_the_trial_is_a_ratio_of_times():
    assert 0.01 < trial() < 100


def test_other_devices_are_known_by_what_they_have(monkeypatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    for native, chosen in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native
        )
        assert fastest_precision(gpu)[0] == chosen
    assert fastest_precision(torch.device("mps"))[0] == "float32"


def test_a_device_wants_it_settled():
    with pytest.raises(ValueError, match="settle_precision"):
        choose_device(Runtime(device="cpu", precision="auto"))


def test_later_stages_keep_what_pretraining_chose(tiny, takes):
    config = tiny(runtime={"precision": "auto"}, meta={"steps": 1})
    takes(0.5)
    pretrain(config)
    takes(3.0)
    meta_train(config)
    folder = RunFolder.of(config)
    assert load_config(folder.config).runtime.precision == "bfloat16"
    payload = torch.load(folder.meta, weights_only=True)
    assert payload["config"]["runtime"]["precision"] == "bfloat16"
