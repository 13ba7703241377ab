r"""Untrusted Python code, run apart: without network, environment or time beyond its limits.

    result = Sandbox().run("print(6 * 7)")
    result.stdout  # "42\n"

The code runs in a process of its own in an empty folder, with the standard library alone. What keeps it apart
differs from machine to machine; `describe` tells what does here, and unless the caller says otherwise, a machine
that cannot cut the network is refused. Linux namespaces do it: they need the privileges of root, or a system
that lets users have namespaces.

Known limits: files that the user of the code may read can be read, and system calls are not filtered.
"""

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Literal

from pydantic import Field

from mainspring import sandbox_child
from mainspring.config import Config
from mainspring.errors import MainspringError

Isolation = Literal["root", "user", ""]
"""Namespaces made by root for a user of their own, by a user for itself; none."""
FIRST_USER, NUM_USERS = 1 << 30, 1 << 30  # users that no machine gives to a person or a service
READ_BYTES = 1 << 16


class SandboxLimits(Config):
    """The most that code in a sandbox may use; memory and processor time are those of each of its processes."""

    seconds: float = Field(default=10.0, gt=0, description="by the clock, then everything is killed")
    cpu_seconds: int = Field(default=5, ge=1, description="of processor time")
    memory_bytes: int = Field(default=512 << 20, ge=64 << 20, description="of address space")
    file_bytes: int = Field(default=16 << 20, ge=0, description="of one file, and of the whole folder")
    processes: int = Field(default=16, ge=1, description="at once, threads among them")
    open_files: int = Field(default=64, ge=16, description="of each process")
    output_bytes: int = Field(default=64 << 10, ge=1, description="of standard output and of errors, each")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """How the code ended. `exit_status` is 128 + the signal for code that was killed.

    `is_cut`: it wrote more than it may, which ended it; what fitted is kept.
    """

    exit_status: int
    stdout: str
    stderr: str
    timed_out: bool
    is_cut: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """What keeps code apart on this machine, and what does not; both in words for people.

    Without an `isolation` the network is reachable.
    """

    isolation: Isolation
    kept: tuple[str, ...]
    lacking: tuple[str, ...]


class Sandbox:
    """Runs code under limits; safe to use from several threads.

    Args:
        limits: the most that the code may use.
        require_isolation: refuse a machine on which the network cannot be cut.

    Raises:
        MainspringError: such a machine.

    """

    def __init__(self, limits: SandboxLimits | None = None, *, require_isolation: bool = True) -> None:
        self.limits = limits or SandboxLimits()
        self.isolation: Isolation = found_isolation()
        if require_isolation and not self.isolation:
            raise MainspringError(
                "This machine gives no namespaces, so untrusted code would keep its network. Run as root or "
                "allow users namespaces (sysctl user.max_user_namespaces; in a container: --cap-add SYS_ADMIN), "
                "or accept that and make the sandbox with `require_isolation=False`."
            )

    def describe(self) -> Containment:
        """What is in force here."""
        limits, is_root = self.limits, os.getuid() == 0
        processes = f"at most {limits.processes} processes at once"
        kept = [
            f"ends after {limits.seconds:g} s by the clock or {limits.cpu_seconds} s of processor time",
            f"{limits.memory_bytes >> 20} MiB of memory and {limits.open_files} open files a process",
            "an empty environment, a folder of its own, the standard library alone",
        ]
        if not self.isolation:
            lacking = ["the network is reachable", "children that leave the process group outlive it"]
            lacking.append("files that this user may write can be written")
        else:
            kept += ["no network", "no other process is seen, and none outlives it"]
            kept.append(f"only its own folder can be written, {limits.file_bytes >> 20} MiB of it")
            whom = "everybody" if self.isolation == "root" else "this user"
            lacking = [f"files that {whom} may read can be read"]
        if is_root and self.isolation != "root":
            lacking.append("the system does not count the processes of root")
        else:
            kept.append(processes)
        return Containment(isolation=self.isolation, kept=tuple(kept), lacking=tuple(lacking))

    def run(self, code: str) -> SandboxResult:
        """Run a Python program and wait for its end.

        Raises:
            MainspringError: what is promised cannot be kept, so the code was not started.

        """
        result, refused = _run(code, self.limits, self.isolation)
        if refused:
            raise MainspringError(
                f"The sandbox could not be made ({refused}), so nothing untrusted was run. See what "
                "`Sandbox.describe` says of this machine."
            )
        return result


@cache
def found_isolation() -> Isolation:
    """The strongest isolation in which a program runs here, tried out once."""
    if sys.platform != "linux":
        return ""
    tried: tuple[Isolation, ...] = ("root", "user") if os.getuid() == 0 else ("user",)
    limits = SandboxLimits()
    for isolation in tried:
        if _run("print(1)", limits, isolation)[0].stdout == "1\n":
            return isolation
    return ""


def _run(code: str, limits: SandboxLimits, isolation: Isolation) -> tuple[SandboxResult, str]:
    """How the code ended, and why it was not even started, "" if it was."""
    word = secrets.token_hex(16)  # which the code never sees, so that it cannot say that it was not started
    with tempfile.TemporaryDirectory(prefix="sandbox-") as name:
        base = Path(name)
        order = json.dumps({"word": word, **_order(code, limits, isolation, base)}).encode()
        began = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - our own file, no shell
            [sys.executable, "-I", "-S", "-B", sandbox_child.__file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=base, env={}, start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as stream:
                stream.write(order)
            said = _Said(process, limits.output_bytes)
            said.read_until(began + limits.seconds)
        finally:
            _kill(process)
        result = said.result(process.returncode, time.monotonic() - began)
        is_refused = result.exit_status == sandbox_child.REFUSED
        return result, result.stderr.partition(word)[2].strip() if is_refused else ""


def _order(code: str, limits: SandboxLimits, isolation: Isolation, base: Path) -> dict[str, object]:
    """What the child is told."""
    base.chmod(0o755)
    (base / "work").mkdir()
    executable, python, user = Path(os.path.realpath(sys.executable)), "", 0
    prefix = Path(os.path.realpath(sys.base_prefix))
    if isolation == "root":
        user = FIRST_USER + secrets.randbelow(NUM_USERS)
        if executable.is_relative_to(prefix):
            (base / "python").mkdir()
            python = str(base / "python")
            executable = base / "python" / executable.relative_to(prefix)
    return {
        "code": code, "isolation": isolation, "work": str(base / "work"), "prefix": str(prefix),
        "python": python, "user": user, "executable": str(executable), "folder_bytes": limits.file_bytes,
        "rlimits": {
            "RLIMIT_CPU": limits.cpu_seconds, "RLIMIT_AS": limits.memory_bytes, "RLIMIT_CORE": 0,
            "RLIMIT_FSIZE": limits.file_bytes, "RLIMIT_NPROC": _most_processes(limits, isolation),
            "RLIMIT_NOFILE": limits.open_files,
        },
    }  # fmt: skip


def _most_processes(limits: SandboxLimits, isolation: Isolation) -> int:
    """The system counts a user's processes: those of a namespace alone, or all there are."""
    if isolation or sys.platform != "linux":
        return limits.processes
    return limits.processes + sum(
        len(os.listdir(folder / "task"))  # noqa: PTH208 - a count
        for folder in Path("/proc").glob("[0-9]*")
        if _is_mine(folder)
    )


def _is_mine(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.getuid() and (folder / "task").is_dir()
    except OSError:
        return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group; what stands in namespaces of its own ends with their first process."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()


class _Said:
    """What a process writes, up to a limit, until it ends, writes too much, or runs out of time."""

    def __init__(self, process: subprocess.Popen[bytes], most: int) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process, self._most = process, most
        self._texts: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        self.is_cut = self.timed_out = False

    def read_until(self, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            for stream in self._texts:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map() and not self.is_cut:
                left = deadline - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    return
                has_ended = self._process.poll() is not None
                ready = selector.select(0 if has_ended else min(left, 0.05))
                for key, _ in ready:
                    if not self._take(key.fileobj):  # type: ignore[arg-type]
                        selector.unregister(key.fileobj)
                if has_ended and not ready:
                    return

    def _take(self, stream: IO[bytes]) -> bool:
        """Take what is there; False at the stream's end."""
        found = os.read(stream.fileno(), READ_BYTES)
        text = self._texts[stream]
        self.is_cut = self.is_cut or len(text) + len(found) > self._most
        text += found[: self._most - len(text)]
        return bool(found)

    def result(self, code: int, seconds: float) -> SandboxResult:
        stdout, stderr = (text.decode("utf-8", "replace") for text in self._texts.values())
        return SandboxResult(
            exit_status=code if code >= 0 else 128 - code, stdout=stdout, stderr=stderr,
            timed_out=self.timed_out, is_cut=self.is_cut, seconds=seconds,
        )  # fmt: skip
