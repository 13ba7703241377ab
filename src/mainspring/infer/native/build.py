"""Compile the native step where there is a compiler, once for each source, compiler and processor.

The library lies in the user's cache folder under a hash of all that it was made of. It is linked in a folder of its
own and moved, so that processes which build at the same time do not meet half a file. `api.cpp` includes the others:
one unit, whose functions the compiler sees through.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from mainspring.errors import MainspringError

SOURCES = Path(__file__).parent
COMPILERS = ("g++", "clang++", "c++")
FLAGS = (
    "-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", "-Wno-psabi",
    "-ffp-contract=off", "-fno-math-errno",  # operations on floats stay as they are written
)  # fmt: skip
TIME_LIMIT_S = 300


class NoCompilerError(MainspringError):
    """There is nothing to compile with, or it fails."""


@functools.cache
def library(march: str = "native") -> ctypes.CDLL:
    """The compiled step for a processor in the compiler's words; others than this one's are for tests.

    Raises:
        NoCompilerError: no compiler is installed, or it does not accept the sources.

    """
    path = build(march)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NoCompilerError(
            f"{path} cannot be loaded: {error}. Remove it, and it is compiled again."
        ) from error


def build(march: str) -> Path:
    """Where the library lies, compiled if it is not there yet."""
    compiler = find_compiler()
    flags = [*FLAGS, f"-march={march}"]
    path = _folder() / f"step-{_fingerprint(compiler, flags)}.so"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        _run([compiler, *flags, str(SOURCES / "api.cpp"), "-o", str(made)])
        made.replace(path)
    return path


def find_compiler() -> str:
    """Where a C++ compiler lies.

    Raises:
        NoCompilerError: none is installed, or not the one that CXX names.

    """
    named = os.environ.get("CXX")
    for name in (named,) if named else COMPILERS:
        found = shutil.which(name)
        if found:
            return found
    raise NoCompilerError(
        f"No C++ compiler was found ({named or ', '.join(COMPILERS)}), so the native step cannot be compiled. "
        "Install g++ or clang++, or go on with the torch backend, which needs none."
    )


def _fingerprint(compiler: str, flags: list[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob("*.[ch]*")):
        digest.update(path.read_bytes())
    for text in (_run([compiler, "--version"]), *flags, _processor()):
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()[:24]


def _processor() -> str:
    """What -march=native depends on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    told = {line for line in lines if line.startswith(("flags", "model name"))}  # of every core
    return platform.machine() + "".join(sorted(told))


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(  # noqa: S603 - a compiler that the user has, and our own sources
            command, check=True, capture_output=True, text=True, timeout=TIME_LIMIT_S
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise NoCompilerError(
            f"{command[0]} cannot compile the native step: {said.strip()[:600]} Install another compiler and name "
            "it in CXX, or go on with the torch backend."
        ) from error


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "mainspring" / "native"
