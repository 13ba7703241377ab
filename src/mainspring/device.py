"""What this machine computes on, found and never assumed."""

import ctypes
import gc
import os
import platform
from pathlib import Path


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
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
