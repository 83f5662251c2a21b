"""Which precision `runtime.precision: auto` stands for on the machine at hand.

bfloat16 halves the time of a convolution where the processor has instructions for it, and multiplies it
where they are emulated: by 3 with AVX-512 alone, by 7 with AVX2. Flags do not settle it, since libraries may
be told to pass instructions over (ONEDNN_MAX_CPU_ISA), so one convolution is timed in both.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F

from mtl.config import Config
from mtl.runtime.devices import device_of
from mtl.runtime.progress import tell

Precision = Literal["auto", "float32", "bfloat16"]

_TRIALS = 3  # of each precision, after one that is not counted
_IMAGES, _CHANNELS, _SIDE = 8, 64, 32  # of the convolution: a layer of Conv4


def settle_precision(config: Config, recorded: Precision | None = None) -> Config:
    """The config with `runtime.precision` spelled out; one line says what `auto` came to.

    Args:
        config: of the run.
        recorded: by the checkpoint that the stage goes on with or builds on, None without one. `auto` keeps
            it, so that a resumed run computes what one that never stopped computes, and a network that is
            scored again gives the numbers it gave.

    Raises:
        UserError: the config asks for a device that this machine lacks.
    """
    device, log = device_of(config.runtime), config.log
    chosen = config.runtime.precision
    if chosen == "auto" and recorded not in {None, "auto"}:
        chosen = recorded
        tell(f"precision: {chosen}, as the run began", log)
    if chosen == "auto":
        chosen, reason = fastest_precision(device)
        tell(f"precision: {chosen}, as {reason}", log)
    elif chosen == "bfloat16" and device.type == "cpu" and (ratio := trial()) > 1:
        slow = f"precision: bfloat16 is slow on this processor, as {_compared(ratio)}"
        tell(f"{slow}; runtime.precision=float32 changes rounding alone", log)
    return replace(config, runtime=replace(config.runtime, precision=chosen))


def recorded_precision(checkpoint: Mapping[str, Any]) -> Precision:
    """The precision that a checkpoint was made in."""
    precision: Precision = checkpoint["config"]["runtime"]["precision"]
    return precision


def fastest_precision(device: torch.device) -> tuple[Precision, str]:
    """The precision in which a device computes convolutions fastest, and why."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        name = torch.cuda.get_device_name(device)
        return ("bfloat16", f"{name} computes in it") if native else ("float32", f"{name} has no bfloat16")
    if device.type != "cpu":
        return "float32", f"bfloat16 is not known to be faster on {device.type}"
    ratio = trial()
    return ("bfloat16" if ratio < 1 else "float32"), _compared(ratio)


@torch.no_grad()
def trial() -> float:
    """Time of a convolution on the processor in bfloat16 over that in float32; takes about 50 ms.

    The precisions take turns, and the shortest time of each counts, so that other work on the machine
    disturbs both or neither.
    """
    images = torch.ones(_IMAGES, _CHANNELS, _SIDE, _SIDE).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(_CHANNELS, _CHANNELS, 3, 3).contiguous(memory_format=torch.channels_last)

    def seconds(low: bool) -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            start = time.perf_counter()
            F.conv2d(images, weight, padding=1)
            return time.perf_counter() - start

    times = [(seconds(True), seconds(False)) for _ in range(_TRIALS + 1)][1:]
    return min(low for low, _ in times) / min(full for _, full in times)


def _compared(ratio: float) -> str:
    return f"a convolution in bfloat16 takes {ratio:.1f} times as long as in float32"
