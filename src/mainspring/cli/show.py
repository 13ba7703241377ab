"""Results on standard output: tables for people, one JSON object for programs, and what comes next."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mainspring.cli.base import DEFAULT, VARIABLE

MAX_CELL = 100


def result(value: Any) -> None:
    """One JSON object, of structs, dataclasses, dicts and paths."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")


def table(rows: Sequence[Sequence[object]], heads: Sequence[str] = ()) -> None:
    """Columns as wide as their widest cell; the last one is left to run."""
    cells = [[_cell(value) for value in row] for row in ([heads] if heads else []) + list(rows)]
    if not cells:
        return
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        print("  ".join([*padded, row[-1]]).rstrip())


def end(workspace: Path, lies: object, *commands: str) -> None:
    """Where the result lies and which commands come next."""
    is_named = workspace != DEFAULT and VARIABLE not in os.environ
    place = f" --workspace {workspace}" if is_named else ""
    print(f"\nin    {lies}")
    for command in commands:
        print(f"next  mainspring {command}{place}")


def shorten(text: str, most: int = MAX_CELL) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
