"""`runtime.precision: auto`: what is faster here, told in a line and kept by what follows."""

import pytest
import torch

from mtl.config import Config, Log, Runtime, load_config
from mtl.runtime import precision
from mtl.runtime.devices import choose_device
from mtl.runtime.precision import fastest_precision, settle_precision, trial
from mtl.runtime.run_folder import RunFolder
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain

CPU = torch.device("cpu")


def _config(asked, **log):
    return Config(runtime=Runtime(device="cpu", precision=asked), log=Log(**log))


@pytest.fixture
def takes(monkeypatch):
    """Sets the times of the trial: bfloat16 over float32."""
    return lambda ratio: monkeypatch.setattr(precision, "trial", lambda: ratio)


@pytest.mark.parametrize(("ratio", "chosen"), [(0.5, "bfloat16"), (3.0, "float32")])
def test_the_faster_one_is_chosen_and_said(takes, capsys, ratio, chosen):
    takes(ratio)
    assert settle_precision(_config("auto")).runtime.precision == chosen
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert chosen in said
    assert f"{ratio:.1f}" in said


def test_what_a_checkpoint_records_is_kept(takes):
    takes(0.5)
    assert settle_precision(_config("auto"), "float32").runtime.precision == "float32"
    assert settle_precision(_config("auto"), "auto").runtime.precision == "bfloat16"
    assert settle_precision(_config("bfloat16"), "float32").runtime.precision == "bfloat16"


@pytest.mark.parametrize("ratio", [0.5, 3.0])
@pytest.mark.parametrize(("asked", "recorded"), [("bfloat16", None), ("auto", "bfloat16")])
def test_bfloat16_that_is_slow_here_is_kept_and_said(takes, capsys, asked, recorded, ratio):
    takes(ratio)
    assert settle_precision(_config(asked), recorded).runtime.precision == "bfloat16"
    assert ("runtime.precision=float32" in capsys.readouterr().err) is (ratio > 1)


def test_quiet_says_nothing(takes, capsys):
    takes(3.0)
    settle_precision(_config("auto", quiet=True))
    assert capsys.readouterr().err == ""


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
