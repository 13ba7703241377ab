"""What a benchmark counts: seconds of the wall or, where the machine is busy with other work, of the processor.

Threads that wait for each other count as busy, so the second kind is of one thread.
"""

import time

import torch

_seconds = time.perf_counter


def now() -> float:
    """Seconds, from anywhere on."""
    return _seconds()


def use_processor_time() -> None:
    """From here on, what this process computes counts, on one thread; what it waits for does not."""
    global _seconds  # noqa: PLW0603 - one clock for all that is compared
    _seconds = time.process_time
    torch.set_num_threads(1)
