"""Where documents come from: a folder of files, or the descriptions of the installed packages.

A source is named before it is read, so that a bad one among good ones is listed with its reason and not
fatal.
"""

import importlib.metadata
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mainspring.data.parse import READ_SUFFIXES, SUFFIXES, Parsed, check_size, parse
from mainspring.data.parse.base import MAX_BYTES
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError

CONTENT_TYPES = {"text/markdown": "markdown", "text/x-rst": "rst", "text/plain": "plain"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A document to be, its bytes in `data` or in the file `path`; `title` goes before its first heading."""

    name: str
    format: str
    title: str = ""
    data: bytes = b""
    path: Path | None = None

    def read(self, max_bytes: int) -> bytes:
        """The document's bytes.

        Raises:
            DocumentError: a file that is gone, may not be read or is over the limit.

        """
        if self.path is None:
            check_size(len(self.data), self.name, max_bytes)
            return self.data
        try:
            check_size(self.path.stat().st_size, self.name, max_bytes)
            return self.path.read_bytes()
        except OSError as error:
            raise DocumentError(
                f"{self.name} cannot be read ({error.strerror}). Check the file's path and its permissions."
            ) from error

    def parse(self, data: bytes, max_bytes: int, limits: ParseLimits | None = None) -> Parsed:
        """Clean text and blocks of `data`, which `read` gave."""
        return parse(data, self.name, self.format, max_bytes=max_bytes, limits=limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A document that is not taken in, and why."""

    name: str
    reason: str


def folder(path: Path, max_bytes: int = MAX_BYTES) -> list[Source | Rejected]:
    """All files below `path` in the order of their names; hidden ones are left out.

    Raises:
        DocumentError: no such folder, or one without a file that is read.

    """
    if not path.is_dir():
        raise DocumentError(f"{path} is not a folder; give a folder of documents ({READ_SUFFIXES}).")
    found = [single(file, file.relative_to(path).as_posix(), max_bytes) for file in files_below(path)]
    if not any(isinstance(entry, Source) for entry in found):
        raise DocumentError(
            f"The folder {path} has no readable document: {_describe(found)}. "
            f"Files with the suffixes {READ_SUFFIXES} are read; give a folder that holds some."
        )
    return found


def single(file: Path, name: str, max_bytes: int = MAX_BYTES) -> Source | Rejected:
    """One file, looked at from the outside: its suffix and its size."""
    format_name = SUFFIXES.get(file.suffix.lower())
    if format_name is None:
        reason = f"files with the suffix '{file.suffix}' are not read; {READ_SUFFIXES} are"
        return Rejected(name=name, reason=reason)
    try:
        check_size(file.stat().st_size, name, max_bytes)
    except (DocumentError, OSError) as error:
        return Rejected(name=name, reason=str(error))
    return Source(name=name, format=format_name, path=file)


def packages(root: str = "mainspring", extras: Sequence[str] = ("demo",)) -> list[Source | Rejected]:
    """The long descriptions of all packages that `root` with `extras` needs, by name, without its own.

    What else is installed changes nothing, because only the requirements are followed.

    Raises:
        DocumentError: `root` is not installed.

    """
    found: dict[str, Source | Rejected] = {}
    for distribution in _required(root, tuple(extras)):
        metadata: Message = distribution.metadata  # type: ignore[assignment]
        name = str(metadata["Name"])
        text = str(metadata.get_payload() or metadata["Description"] or "")
        content_type = str(metadata["Description-Content-Type"] or "text/x-rst").partition(";")[0].strip()
        if not text.strip():
            found[name] = Rejected(name=name, reason="its metadata holds no long description")
        elif content_type not in CONTENT_TYPES:
            found[name] = Rejected(name=name, reason=f"its description is of the type '{content_type}'")
        else:
            found[name] = Source(
                name=name,
                title=name,
                format=CONTENT_TYPES[content_type],
                data=text.encode("utf-8", "replace"),
            )
    return [found[name] for name in sorted(found, key=str.casefold)]


def files_below(path: Path) -> Iterator[Path]:
    """All files below `path` in the order of their names, without hidden ones."""
    for root, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in sorted(files) if not name.startswith("."))


def _describe(found: Sequence[Source | Rejected]) -> str:
    suffixes = Counter(Path(entry.name).suffix or "no suffix" for entry in found)
    if not suffixes:
        return "it is empty"
    return "found " + ", ".join(f"{count} x {suffix}" for suffix, count in suffixes.most_common())


def _required(root: str, extras: tuple[str, ...]) -> list[importlib.metadata.Distribution]:
    """Walk the requirements whose markers hold here; those that are not installed are passed over."""
    seen: dict[str, set[str]] = {}
    kept: dict[str, importlib.metadata.Distribution] = {}
    waiting = [(root, extras)]
    while waiting:
        name, asked = waiting.pop()
        key = canonicalize_name(name)
        fresh = ({"", *asked}) - seen.setdefault(key, set())
        if not fresh:
            continue
        seen[key] |= fresh
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name == root:
                raise DocumentError(
                    f"The package '{root}' is not installed, so its requirements are not known. "
                    f"Install it with pip install {root}."
                ) from None
            continue
        kept[key] = distribution
        for line in distribution.requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in fresh):
                waiting.append((requirement.name, tuple(requirement.extras)))
    kept.pop(canonicalize_name(root), None)
    return list(kept.values())
