"""What tests of the data pipeline share: rows to read, small rules, and a plain build to hold the real one against.

The rules are registered when this module is imported. Workers import it when they are given the feed.
"""

import os
import signal
import sys
import time
import unicodedata
from collections import defaultdict
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec
from pydantic import Field

from mainspring.artifact import MANIFEST, Artifact
from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.feeds import base as feeds
from mainspring.data.feeds import rows
from mainspring.data.rules import base as rules
from mainspring.data.rules.base import Outcome, change, drop, keep


class FakeFeedSettings(rows.Settings):
    kind: Literal["fake"] = "fake"  # type: ignore[assignment]


class FakeFeed(rows.Feed):
    """Rows like any; but a worker that unpickles it imports this module."""


class Nothing(Config):
    """No settings."""


class ShortSettings(Config):
    min_words: int = Field(default=3, description="Fewer words are dropped.")


class Short:
    name = "short"

    def __init__(self, settings: ShortSettings) -> None:
        self.settings = settings

    def __call__(self, document: Document) -> Outcome:
        words = len(document.text.split())
        return keep(document) if words >= self.settings.min_words else drop("too_short", {"words": words})


class Quiet:
    """Takes exclamation marks out, and marks what had none."""

    name = "quiet"

    def __init__(self, settings: Nothing) -> None:
        pass

    def __call__(self, document: Document) -> Outcome:
        text = document.text.replace("!", "")
        if text == document.text:
            return change(document, "", is_quiet=True)
        return change(
            document, "too_loud", text=text, numbers={"marks": document.text.count("!")}, sample="!"
        )


class NoteSettings(Config):
    log: str = Field(
        description="A file that gets a line for each document; behind a colon, it decides nothing."
    )
    pause_s: float = Field(default=0.0, description="Seconds that a document takes.")


class Note:
    """Notes every document that it sees; fails, or waits, at the one that a file beside the log names."""

    name = "note"

    def __init__(self, settings: NoteSettings) -> None:
        self.settings = settings

    def __call__(self, document: Document) -> Outcome:
        log = Path(self.settings.log.removeprefix(":"))
        stop = log.with_suffix(".stop")
        if stop.exists() and stop.read_text() == document.id:
            raise RuntimeError("told to stop here")
        hold = log.with_suffix(".hold")
        while hold.exists() and hold.read_text() == document.id:
            time.sleep(0.01)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(document.id + "\n")
        time.sleep(self.settings.pause_s)
        return keep(document)


class Broken:
    name = "broken"

    def __init__(self, settings: Nothing) -> None:
        pass

    def __call__(self, document: Document) -> Outcome:
        raise ZeroDivisionError("no reason")


class Deadly:
    """Ends its process at a text that asks for it, as the kernel does for want of memory."""

    name = "deadly"

    def __init__(self, settings: Nothing) -> None:
        pass

    def __call__(self, document: Document) -> Outcome:
        if "deadly" in document.text:
            os.kill(os.getpid(), signal.SIGKILL)
        return keep(document)


def _register(name: str, module: str, **names: Any) -> None:
    made = ModuleType(f"{module}.{name}")
    vars(made).update(names)
    sys.modules[made.__name__] = made


if "fake" not in feeds.KINDS:
    feeds.KINDS = (*feeds.KINDS, "fake")
    _register("fake", "mainspring.data.feeds", Settings=FakeFeedSettings, Feed=FakeFeed)
    for rule, settings in (
        (Short, ShortSettings), (Quiet, Nothing), (Note, NoteSettings), (Broken, Nothing), (Deadly, Nothing),
    ):  # fmt: skip
        rules.RULES = (*rules.RULES, rule.name)
        _register(rule.name, "mainspring.data.rules", Settings=settings, Rule=rule, EDITION=1)


def write_rows(path: Path, texts: list[str], **columns: list[str]) -> Path:
    """A file of JSON lines, a text a row."""
    named = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    lines = [{"text": text, **(named[number] if named else {})} for number, text in enumerate(texts)]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def plain_build(texts: list[str], source: str, min_words: int, fractions: dict[str, float]) -> dict[str, Any]:
    """What a build of quiet, short and exact leaves, all in memory and in a loop.

    Returns the (id, text) of every split and the (id, rule, reason, of) of what was dropped.
    """
    kept: dict[str, list[tuple[str, str]]] = defaultdict(list)
    dropped: list[tuple[str, str, str, str]] = []
    seen: dict[str, str] = {}
    for number, text in enumerate(texts, start=1):
        name = f"{source}#{number}"
        if not text.strip():
            dropped.append((name, "read", "unreadable", ""))
            continue
        quiet = text.replace("!", "")
        if len(quiet.split()) < min_words:
            dropped.append((name, "short", "too_short", ""))
            continue
        if not quiet.strip():
            dropped.append((name, "check", "empty", ""))
            continue
        form = " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFD", quiet).casefold()).split())
        if form in seen:
            dropped.append((name, "exact", "duplicate", seen[form]))
            continue
        seen[form] = name
        drawn = int.from_bytes(blake2b(f"0\0{name}".encode(), digest_size=8).digest(), "big") / 2**64
        total = 0.0
        for split, fraction in fractions.items():
            total += fraction
            if drawn < total:
                kept[split].append((name, quiet))
                break
    return {"kept": dict(kept), "dropped": sorted(dropped)}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset but the manifest, which tells when it was made; its fingerprint stands for it."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    manifest = msgspec.json.decode(files.pop(MANIFEST), type=Artifact)
    return {**files, "fingerprint": manifest.fingerprint.encode()}


def lines(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
