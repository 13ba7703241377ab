"""The process that reads documents for another one: python -m mainspring.data.parse.worker DESCRIPTOR."""

import resource
import sys
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from mainspring.data.parse import FORMATS
from mainspring.data.parse.base import Raw
from mainspring.data.parse.contained import Job, Reply
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError, MissingExtraError

NEAR_LIMIT = 0.8  # of the memory; one more large piece would have been too much


def main() -> None:
    """Answer jobs until the other side is gone."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = Connection(int(sys.argv[1]))
    decoder, encoder = msgspec.msgpack.Decoder(Job), msgspec.msgpack.Encoder()
    while True:
        try:
            job = decoder.decode(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(encoder.encode(_reply(job)))


def _reply(job: Job) -> Reply:
    limits = ParseLimits(**job.limits)
    _hold(limits)
    try:
        parsed = FORMATS[job.format].read(Raw(data=job.data, name=job.name, limits=limits))
    except (DocumentError, MissingExtraError) as error:
        return Reply(reason=str(error))
    except Exception as error:  # noqa: BLE001 - libraries raise anything for a damaged file; the reason is told
        if isinstance(error, MemoryError) or _is_at_limit(limits):
            reason = (
                f"{job.name} needs more than {limits.memory_bytes // 1_000_000:,} MB of memory. Leave it out, "
                "or raise the limit `memory_bytes`."
            )
            return Reply(reason=reason, is_out_of_memory=True)
        reason = (
            f"{job.name} cannot be read as {job.format} ({type(error).__name__}: {str(error)[:200]}). It is "
            "damaged or not of that format; save it anew or leave it out."
        )
        return Reply(reason=reason)
    return Reply(parsed=parsed)


def _hold(limits: ParseLimits) -> None:
    """Let the system end this process when the next document takes too much time or memory."""
    _, most_seconds = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + limits.seconds, most_seconds))
    if sys.platform == "linux":  # others take the call and do not keep to it, or fail
        _, most_bytes = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, most_bytes))


def _is_at_limit(limits: ParseLimits) -> bool:
    """Whether this process has been near its limit: C libraries have other words for being out of memory."""
    if sys.platform != "linux":
        return False
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmPeak")
    )
    return int(peak.split()[1]) * 1_024 > NEAR_LIMIT * limits.memory_bytes


if __name__ == "__main__":
    main()
