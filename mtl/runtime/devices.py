"""Where tensors live and how precisely convolutions are computed."""

import ctypes
import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtl.config import Runtime
from mtl.errors import UserError

_PIXELS = 2**20


@dataclass(frozen=True)
class Device:
    """A torch device and the precision of the backbone's forward pass on it."""

    torch_device: torch.device
    precision: torch.dtype

    def computed_on(self) -> dict[str, str | int]:
        """What rounding depends on, as checkpoints note it."""
        return {
            "device": self.torch_device.type,
            "precision": str(self.precision).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
        }

    def place(self, network: nn.Module) -> nn.Module:
        """The network on this device, its convolutions in the memory layout that is fastest there."""
        return network.to(self.torch_device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def hold(self, images: Tensor) -> Tensor:
        """uint8 images (M, C, H, W) where batches are gathered: on a GPU that has twice the memory free."""
        if (
            self.torch_device.type != "cuda"
            or images.nbytes > torch.cuda.mem_get_info(self.torch_device)[0] // 2
        ):
            return images
        return images.to(self.torch_device)

    def images_at_once(self, size: int) -> int:
        """How many images of `size`×`size` pixels may pass a backbone together: memory grows with them.

        On a processor larger batches are not faster, on a GPU they are.
        """
        return max(1, (_PIXELS if self.torch_device.type == "cpu" else 4 * _PIXELS) // size**2)

    def forward(self, network: nn.Module, images: Tensor, mirror: bool = False) -> Tensor:
        """Features (B, D) in float32 of normalised images (B, C, H, W).

        With `mirror` each is the mean of those of an image and of its mirror image.
        """
        if mirror:
            return (self.forward(network, images) + self.forward(network, images.flip(-1))) / 2
        images = images.to(self.torch_device).contiguous(memory_format=torch.channels_last)
        low = self.precision != torch.float32
        with torch.autocast(self.torch_device.type, dtype=self.precision, enabled=low):
            features: Tensor = network(images)
        return features.float()


def device_of(config: Runtime) -> torch.device:
    """The device that a config names, or for `auto` the best there is.

    Raises:
        UserError: the config asks for a device that this machine lacks.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(n for n, there in has.items() if there) if config.device == "auto" else config.device
    if not has[name]:
        there = ", ".join(n for n, ok in has.items() if ok)
        raise UserError(f"runtime.device: {name} is not available here (available: {there})")
    return torch.device(name)


def choose_device(config: Runtime) -> Device:
    """The device that a config names, with its precision; sets threads and memory as the config says.

    Raises:
        UserError: the config asks for a device that this machine lacks.
        ValueError: the precision is still `auto`; `mtl.runtime.precision.settle_precision` comes before.
    """
    torch_device = device_of(config)
    if config.precision == "auto":
        raise ValueError("runtime.precision is auto: settle_precision comes before choose_device")
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.keep_memory:
        keep_freed_memory()
    precision = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    return Device(torch_device, precision)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, from malloc.h
_LARGEST = 2**31 - 1
_MAPPED_ABOVE = 2**27  # larger buffers are rare, and leave holes that nothing else fits


def keep_freed_memory() -> bool:
    """Has the C library keep large buffers that are freed, for the next step to use; whether it agreed.

    glibc gives a buffer of some megabytes back to the system at once, which then has to find and clear the
    same pages for the next one: every activation and gradient of every step. What a process holds is then
    its largest need so far. Numbers computed are the same. Elsewhere than on glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MAPPED_ABOVE)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST))
