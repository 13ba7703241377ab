"""A remote source as it was brought into the run's folder: a file of JSON lines that grows, and then is done.

A process that is killed leaves whole lines and perhaps a torn one; the next one goes on behind the last whole
line. What is done is not touched again.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mainspring.artifact import File, fingerprint_of, sha256_of, sync

BLOCK_BYTES = 1 << 16


class Snapshot:
    """The folder of a source's snapshot below that of a run: another one for other settings."""

    def __init__(self, folder: Path, name: str, identity: Mapping[str, Any]) -> None:
        slug = re.sub(r"[^\w.-]+", "-", name)[:40]
        self.folder = folder / f"{slug}-{fingerprint_of([name, dict(identity)])[:12]}"
        self.path = self.folder / "rows.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)

    def is_done(self) -> bool:
        return self._mark.exists()

    def sha256(self) -> str:
        """The hash of a snapshot that is done."""
        return msgspec.json.decode(self._mark.read_bytes(), type=File).sha256

    def recover(self) -> bytes:
        """Cut off a torn line and return the last whole one, b"" without one."""
        if not self.path.exists():
            return b""
        with self.path.open("r+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            tail = b""
            while tail.count(b"\n") < 2 and len(tail) < size:  # one before the last line, one behind it
                start = max(0, size - len(tail) - BLOCK_BYTES)
                stream.seek(start)
                tail = stream.read(size - len(tail) - start) + tail
            whole = tail[: tail.rfind(b"\n") + 1]
            stream.truncate(size - len(tail) + len(whole))
        return whole.splitlines()[-1] if whole else b""

    def append(self, lines: Iterable[bytes]) -> None:
        """Write lines, each with its end, and wait until they are on the disk."""
        with self.path.open("ab") as stream:
            stream.writelines(lines)
            stream.flush()
            os.fsync(stream.fileno())

    def restart(self) -> None:
        """Forget what was brought."""
        self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Say that all is there."""
        self.append(())
        whole = File(sha256=sha256_of(self.path), size_bytes=self.path.stat().st_size)
        waiting = self._mark.with_suffix(".writing")
        waiting.write_bytes(msgspec.json.encode(whole))
        sync(waiting)
        waiting.rename(self._mark)
        sync(self.folder)

    @property
    def _mark(self) -> Path:
        return self.folder / "done.json"
