"""How the process deals with memory that it frees."""

import ctypes
import sys

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
