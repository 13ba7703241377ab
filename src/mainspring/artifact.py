"""What a stage leaves behind: a folder of files and the manifest that names them all.

An artifact is written under a temporary name, fsynced and renamed, so a half one is never seen; reading
verifies every file against the manifest. The folder is `<root>/<kind>/<name>/<version>`; versions never
change.
"""

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from mainspring.errors import ChecksumError, NotFoundError

Kind = Literal[
    "dataset",
    "tokenizer",
    "classifier",
    "model",
    "adapter",
    "index",
    "prompt",
    "assistant",
    "kernel-plan",
    "evaluation",
    "confidence",
    "scaling-law",
]
MANIFEST = "manifest.json"
SETTLED_NS = 2_000_000_000
_hashes: dict[Path, tuple[tuple[int, ...], str]] = {}


class File(msgspec.Struct, frozen=True, kw_only=True):
    sha256: str
    size_bytes: int


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest. `fingerprint` is a hash over what decides behavior: kind, config, parents and files."""

    kind: Kind
    name: str
    version: int
    fingerprint: str
    created: str
    config: dict[str, Any] = {}
    parents: dict[str, str] = {}
    files: dict[str, File] = {}
    license: str = ""
    card: str = ""

    @property
    def reference(self) -> str:
        """`kind/name@version`, the name that never changes its meaning."""
        return f"{self.kind}/{self.name}@{self.version}"

    def folder(self, root: Path) -> Path:
        return root / self.kind / self.name / str(self.version)


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256_read_once(path: Path) -> str:
    """The hash of a file, remembered while its size, inode and time of change stay the same.

    A file that was written just now may be written again within one tick of its clock, so it is not remembered.
    """
    stat = path.stat()
    mark = (stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
    known = _hashes.get(path)
    if known is not None and known[0] == mark:
        return known[1]
    found = sha256_of(path)
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS:
        _hashes[path] = mark, found
    return found


def fingerprint_of(value: Any) -> str:
    """A hash of any JSON-like value, independent of the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def write(
    root: Path,
    kind: Kind,
    name: str,
    fill: Callable[[Path], None],
    *,
    config: Mapping[str, Any] | None = None,
    parents: Mapping[str, str] | None = None,
    license: str = "",  # noqa: A002 - the field's own name
    card: str = "",
) -> Artifact:
    """Let `fill(folder)` write files, then publish them as the next version of `kind/name`."""
    with temporary_folder(root) as folder:
        fill(folder)
        files = {
            str(path.relative_to(folder)): File(sha256=sha256_of(path), size_bytes=path.stat().st_size)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        identity = {"kind": kind, "config": config or {}, "parents": parents or {}, "files": files}
        base = root / kind / name
        base.mkdir(parents=True, exist_ok=True)
        version = _latest(base) + 1
        while True:
            artifact = Artifact(
                kind=kind, name=name, version=version, fingerprint=fingerprint_of(identity),
                created=datetime.now(UTC).isoformat(timespec="seconds"), config=dict(config or {}),
                parents=dict(parents or {}), files=files, license=license, card=card,
            )  # fmt: skip
            (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(artifact), indent=2))
            _sync_tree(folder)
            try:
                folder.rename(base / str(version))
            except OSError:  # another process published this version first
                version += 1
                continue
            sync(base)
            return artifact


def read(root: Path, kind: str, name: str, version: int, *, verify: bool = True) -> Artifact:
    """Read a manifest and check every file against it.

    Raises:
        NotFoundError: no such artifact.
        ChecksumError: a file is missing or is not the one that was written.

    """
    folder = root / kind / name / str(version)
    try:
        artifact = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Artifact)
    except FileNotFoundError:
        raise NotFoundError(f"There is no {kind}/{name}@{version} in {root}.") from None
    except msgspec.MsgspecError as error:
        raise ChecksumError(
            f"{folder / MANIFEST} is damaged: {error}. Restore it, or make the artifact again."
        ) from error
    if verify:
        check(artifact, folder)
    return artifact


def check(artifact: Artifact, folder: Path) -> None:
    """Raise ChecksumError unless every file is the one that the manifest names."""
    for name, file in artifact.files.items():
        path = folder / name
        found = _sha256_read_once(path) if path.exists() else "missing"
        if found != file.sha256:
            raise ChecksumError(
                f"{path} of {artifact.reference} is {'missing' if found == 'missing' else 'not the file written'}: "
                f"sha256 {found[:16]}, expected {file.sha256[:16]}. Restore the file or make the artifact again."
            )


def list_all(root: Path) -> Iterator[tuple[str, str, int]]:
    """Every published (kind, name, version) below `root`, oldest version first.

    Only the kinds' folders are walked: temporary ones beside them vanish at any moment.
    """
    for kind in sorted(get_args(Kind)):
        found = [manifest.parts[-3:-1] for manifest in root.glob(f"{kind}/*/*/{MANIFEST}")]
        yield from sorted((kind, name, int(version)) for name, version in found)


def sweep(root: Path) -> int:
    """Remove what a killed writer left half-written; returns how many folders that were."""
    import psutil

    stale = [path for path in root.glob(".writing-*") if not psutil.pid_exists(int(path.name.split("-")[1]))]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)  # another process may be sweeping it, too
    return len(stale)


@contextmanager
def temporary_folder(root: Path) -> Iterator[Path]:
    """A folder that is gone at the block's end, or swept at the next start if the process is killed."""
    folder = root / f".writing-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _latest(base: Path) -> int:
    return max((int(path.name) for path in base.iterdir() if path.name.isdigit()), default=0)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
