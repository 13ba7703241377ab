"""What the sandbox starts: it takes away what untrusted code must not have, then becomes that code.

Run as a script by `sandbox.py`, with the standard library alone. Standard input brings one JSON object; the
process ends with the code's exit status, 128 + the signal that ended it, or REFUSED and the order's secret word
where something that was promised could not be taken away.

    child -- unshare, mounts -> first process of its own PID namespace -> rlimits, other user -> the code
    (waits)                     (waits; when it ends, the system ends all that is left)
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

REFUSED = 125
NEWNS, NEWUSER, NEWPID, NEWNET, NEWIPC = 0x20000, 0x10000000, 0x20000000, 0x40000000, 0x08000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
MS_NOSUID_NODEV = 0x2 | 0x4
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, ATTR_RDONLY = 442, -100, 0x8000, 1
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, NUM_CAPABILITIES = 1, 38, 24, 64


def main() -> int:
    order = json.load(sys.stdin)
    try:
        return _wait(_isolated(order)) if order["isolation"] else _wait(_forked(order))
    except OSError as error:
        return _refuse(order, error)


def _refuse(order: dict[str, Any], error: OSError) -> int:
    """Say what could not be done, with the word that tells it from what the code says."""
    print(f"{order['word']}{error.strerror}: {error.filename or ''}", file=sys.stderr, flush=True)
    return REFUSED


def _isolated(order: dict[str, Any]) -> int:
    """Start the code in namespaces of its own; returns the process that is the first in them."""
    user, group = os.getuid(), os.getgid()
    is_mapped = order["isolation"] == "user"
    flags = NEWNS | NEWPID | NEWNET | NEWIPC | (NEWUSER if is_mapped else 0)
    _checked(_libc().unshare(flags), "unshare")
    if is_mapped:
        for name, text in (
            ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"),
        ):  # fmt: skip
            with open(f"/proc/self/{name}", "w") as stream:  # noqa: PTH123 - few imports, quick start
                stream.write(text)
    _mount(order)
    first = os.fork()
    if first:
        return first
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        _hide_processes()
        os._exit(_wait(_forked(order)))
    except OSError as error:
        os._exit(_refuse(order, error))


def _mount(order: dict[str, Any]) -> None:
    """All folders read-only but one, which lies in memory and has a size."""
    work, python = order["work"], order["python"]
    _checked(_libc().mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "/")
    if python:  # where another user may read it, though the way to it may be closed to others
        _checked(_libc().mount(order["prefix"].encode(), python.encode(), None, MS_BIND, None), python)
    sizes = f"size={order['folder_bytes']},mode=0777".encode()
    _checked(_libc().mount(b"tmpfs", work.encode(), b"tmpfs", MS_NOSUID_NODEV, sizes), work)
    _set_read_only(b"/", AT_RECURSIVE, is_on=True)
    _set_read_only(work.encode(), 0, is_on=False)


def _set_read_only(path: bytes, flags: int, *, is_on: bool) -> None:
    attributes = (ctypes.c_uint64 * 4)(ATTR_RDONLY if is_on else 0, 0 if is_on else ATTR_RDONLY, 0, 0)
    done = _libc().syscall(
        ctypes.c_long(MOUNT_SETATTR), ctypes.c_int(AT_FDCWD), ctypes.c_char_p(path), ctypes.c_uint(flags),
        ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)),
    )  # fmt: skip
    _checked(done, path.decode())


def _hide_processes() -> None:
    """A /proc of this namespace alone; where that may not be mounted, none."""
    if _libc().mount(b"proc", b"/proc", b"proc", MS_NOSUID_NODEV, None):
        _checked(_libc().mount(b"tmpfs", b"/proc", b"tmpfs", MS_NOSUID_NODEV, b"size=0"), "/proc")


def _forked(order: dict[str, Any]) -> int:
    process = os.fork()
    if process:
        return process
    try:
        _become(order)
    except OSError as error:
        os._exit(_refuse(order, error))


def _become(order: dict[str, Any]) -> NoReturn:
    """Give up everything, last of all the right to take it back, and run the code in place of this one."""
    os.chdir(order["work"])
    with open("main.py", "w", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write(order["code"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.closerange(3, 256)
    for name, most in order["rlimits"].items():
        if hasattr(resource, name):
            with contextlib.suppress(ValueError):  # a hard limit that is lower already
                resource.setrlimit(getattr(resource, name), (most, most))
    if sys.platform == "linux":
        _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        for capability in range(NUM_CAPABILITIES):  # root without them cannot make folders writable again
            _libc().prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if order["user"]:
        os.setgroups([])
        os.setresgid(order["user"], order["user"], order["user"])
        os.setresuid(order["user"], order["user"], order["user"])
    os.execve(order["executable"], [order["executable"], "-I", "-S", "-B", "main.py"], {})  # noqa: S606 - no shell


def _wait(process: int) -> int:
    """The exit status of a process; others that end meanwhile are cleared away."""
    while True:
        ended, status = os.wait()
        if ended == process:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    sys.exit(main())
