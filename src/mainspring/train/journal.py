"""What long work has done so far, a line for each piece: a killed run goes on behind the last whole line."""

import os
from pathlib import Path
from typing import Any

import msgspec

from mainspring.errors import ChecksumError


class Journal:
    """A .jsonl file that only grows; `entries` are its lines.

    Raises:
        ChecksumError: a line that is no JSON object, before the last one.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
        if lines[-1]:  # torn by a kill
            os.truncate(path, path.stat().st_size - len(lines[-1]))
        try:
            self.entries = [msgspec.json.decode(line, type=dict[str, Any]) for line in lines[:-1]]
        except msgspec.MsgspecError as error:
            raise ChecksumError(f"{path} is damaged: {error}. Remove it to do its work again.") from error

    def append(self, entry: Any) -> None:
        """Add a line, and wait until it is on the disk."""
        line = msgspec.json.encode(entry)
        with self.path.open("ab") as stream:
            stream.write(line + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.entries.append(msgspec.json.decode(line))
