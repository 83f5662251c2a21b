"""Where tensors live and how precisely convolutions are computed.

For `runtime.precision: auto` one convolution is timed: bfloat16 halves its time on a processor with
instructions for it, and multiplies it where they are emulated, by 3 with AVX-512 alone and by 7 with AVX2.
The processor's flags do not settle it, since libraries may pass instructions over (ONEDNN_MAX_CPU_ISA).
"""

import ctypes
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Config, Runtime
from mtl.errors import UserError
from mtl.runtime.progress import tell
from mtl.runtime.world import ALONE, World

Precision = Literal["auto", "float32", "bfloat16"]

_PIXELS = 2**20
_TRIALS = 5  # of each precision, after one that is not counted
_IMAGES, _CHANNELS, _SIDE = 8, 64, 32  # of the timed convolution: a layer of Conv4


@dataclass(frozen=True)
class Device:
    """A torch device and the precision of the backbone's forward pass on it."""

    torch_device: torch.device
    precision: torch.dtype
    world: World = ALONE  # the processes that compute together
    ordered_sum: bool = False  # gradients of meta-training are added in the order of the tasks

    def computed_on(self) -> dict[str, str | int]:
        """What rounding depends on; noted in checkpoints."""
        return {
            "device": self.torch_device.type,
            "precision": str(self.precision).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "processes": self.world.size,
            "torch": str(torch.__version__),
        }

    def place(self, network: nn.Module) -> nn.Module:
        """The network on this device, its convolutions in the memory layout that is fastest there."""
        return network.to(self.torch_device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def hold(self, images: Tensor) -> Tensor:
        """Moves uint8 images (M, C, H, W) to a GPU if it has twice the memory free."""
        if self.torch_device.type != "cuda":
            return images
        fits = images.nbytes <= torch.cuda.mem_get_info(self.torch_device)[0] // 2
        return images.to(self.torch_device) if fits else images

    def images_at_once(self, size: int) -> int:
        """How many images of `size`×`size` pixels may pass a backbone together: memory grows with them.

        On a processor larger batches are not faster, on a GPU they are.
        """
        return max(1, (_PIXELS if self.torch_device.type == "cpu" else 4 * _PIXELS) // size**2)

    def forward(self, network: nn.Module, images: Tensor) -> Tensor:
        """Features (B, D) in float32 of normalised images (B, C, H, W)."""
        images = images.to(self.torch_device).contiguous(memory_format=torch.channels_last)
        low = self.precision != torch.float32
        with torch.autocast(self.torch_device.type, dtype=self.precision, enabled=low):
            features: Tensor = network(images)
        return features.float()


def device_of(config: Runtime) -> torch.device:
    """The device that a config names, or the best available one for `auto`; UserError if it is missing."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    names = [name for name, there in available.items() if there]
    name = names[0] if config.device == "auto" else config.device
    if name not in names:
        raise UserError(f"runtime.device: {name} is not available here (available: {', '.join(names)})")
    return torch.device(name)


def choose_device(config: Runtime, world: World = ALONE) -> Device:
    """The device that a config names, with its precision; sets threads and memory as the config says.

    Several processes of one machine take a GPU each.

    Raises:
        UserError: this machine lacks the device.
        ValueError: the precision is still `auto`; `settle_precision` comes before.
    """
    torch_device = device_of(config)
    if config.precision == "auto":
        raise ValueError("runtime.precision is auto: settle_precision comes before choose_device")
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.keep_memory:
        keep_freed_memory()
    precision = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    if world.size > 1:
        torch_device = _of_process(torch_device, world)
    return Device(torch_device, precision, world, config.ordered_sum)


def _of_process(device: torch.device, world: World) -> torch.device:
    """The GPU of one of several processes of a machine; the processor, where that is what they share."""
    if device.type == "mps":
        raise UserError("runtime.device: processes cannot share this GPU (mps); take runtime.device=cpu")
    if device.type != "cuda":
        return device
    if world.local_rank >= (count := torch.cuda.device_count()):
        raise UserError(
            f"torchrun: more processes than the {count} GPUs of this machine; lower --nproc-per-node, or "
            "take runtime.device=cpu"
        )
    torch.cuda.set_device(world.local_rank)
    return torch.device("cuda", world.local_rank)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, from malloc.h
_LARGEST = 2**31 - 1
_MAPPED_ABOVE = 2**27  # larger buffers are rare, and leave holes that nothing else fits


def keep_freed_memory() -> bool:
    """Has the C library keep large freed buffers for the next step; True if it agreed.

    glibc returns a buffer of some megabytes to the system at once, which then has to find and clear the same
    pages for the next one: every activation and gradient of every step. A process then holds its largest
    need so far. The numbers computed are the same. Nothing is done on systems without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MAPPED_ABOVE)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST))


def settle_precision(config: Config, recorded: Precision | None = None) -> Config:
    """The config with `runtime.precision: auto` replaced by the choice, which one line reports.

    `auto` keeps what is `recorded` in the checkpoint that the stage goes on with or builds on: a resumed run
    computes what an uninterrupted one does, and a network evaluated again gives the same numbers.
    """
    device, log = device_of(config.runtime), config.log
    chosen = config.runtime.precision
    if chosen == "auto" and recorded not in {None, "auto"}:
        chosen = recorded
        tell(f"precision: {chosen}, as the run began", log)
    if chosen == "auto":
        chosen, reason = fastest_precision(device)
        tell(f"precision: {chosen}, as {reason}", log)
    elif recorded == config.runtime.precision:
        pass  # the stage before has said it
    elif chosen == "bfloat16" and device.type == "cpu" and (ratio := trial()) > 1:
        slow = f"precision: bfloat16 is slow on this processor, as {_compared(ratio)}"
        tell(f"{slow}; runtime.precision=float32 only changes rounding", log)
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
    """Time of a convolution on one core in bfloat16 over that in float32; takes about 100 ms.

    One thread, whatever training gets: threads that wait for each other on a busy machine measure the
    scheduler. The precisions take turns, and the shortest time of each counts, so that other work on the
    machine disturbs both or neither.
    """
    images = torch.ones(_IMAGES, _CHANNELS, _SIDE, _SIDE).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(_CHANNELS, _CHANNELS, 3, 3).contiguous(memory_format=torch.channels_last)

    def seconds(low: bool) -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            start = time.perf_counter()
            F.conv2d(images, weight, padding=1)
            return time.perf_counter() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = [(seconds(True), seconds(False)) for _ in range(_TRIALS + 1)][1:]
    finally:
        torch.set_num_threads(threads)
    return min(low for low, _ in times) / min(full for _, full in times)


def _compared(ratio: float) -> str:
    return f"a convolution in bfloat16 takes {ratio:.1f} times as long as in float32"
