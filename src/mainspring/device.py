"""What this machine computes on, found and never assumed."""

import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # what glibc's malloc.h calls M_...
KEEPING = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1}
USUAL = {MMAP_MAX: 65_536, TRIM_THRESHOLD: 64 << 20, MMAP_THRESHOLD: 32 << 20}
"""What glibc comes to by itself once large memory has been freed."""


def describe() -> str:
    """One line: processor, cores, memory."""
    import psutil

    gib = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {num_cores()} cores, {gib:.0f} GiB"


def num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_rss_bytes() -> int:
    """The largest resident memory that this process has had so far, in bytes.

    Where Linux tells it of this program alone that is taken: what getrusage says begins with what the process was
    that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def release_memory() -> None:
    """Give freed memory back to the system: the C library of Linux keeps what long work has freed.

    After a training run that is over a gigabyte, which a server beside it could use.
    """
    gc.collect()
    trim_memory()


def trim_memory() -> None:
    """The same of what is free already."""
    if _is_glibc():
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Use freed memory again without asking the system for it, for as long as this lasts; glibc alone needs it.

    It maps every large tensor afresh, so each step of a training run would pay for the same pages once more.
    """
    _set_malloc(KEEPING)
    try:
        yield
    finally:
        _set_malloc(USUAL)


def _set_malloc(settings: dict[int, int]) -> None:
    if _is_glibc():
        for name, value in settings.items():
            ctypes.CDLL("libc.so.6").mallopt(name, value)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
