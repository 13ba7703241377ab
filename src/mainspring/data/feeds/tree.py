"""The files that a path names: a folder, a single file, or a pattern such as `data/*.jsonl`."""

import glob
from dataclasses import dataclass
from pathlib import Path

from mainspring.data.sources import files_below
from mainspring.errors import DocumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Files by their names below `root`, in order; `is_single` where the path is one file."""

    root: Path
    names: tuple[str, ...]
    is_single: bool = False

    @property
    def title(self) -> str:
        """What the source is called where it has no name of its own."""
        return self.names[0] if self.is_single else self.root.resolve().name

    def place(self, source: str, name: str) -> str:
        """A file's part in the ids of its documents."""
        return source if self.is_single else f"{source}/{name}"

    def sizes(self) -> list[tuple[str, int, int]]:
        """(name, size in bytes, time of the last change in ns) of every file; zeros where it is gone."""
        return [(name, *_stat(self.root / name)) for name in self.names]


def tree(path: str) -> Tree:
    """Find the files that `path` names; hidden ones in folders are left out.

    Raises:
        DocumentError: there is no such file or folder, it is empty, or a pattern that nothing matches.

    """
    given = Path(path).expanduser()
    if given.is_file():
        return Tree(root=given.parent, names=(given.name,), is_single=True)
    if given.is_dir():
        names = tuple(file.relative_to(given).as_posix() for file in files_below(given))
        if not names:
            raise DocumentError(f"The folder {path} is empty; give a folder that holds files.")
        return Tree(root=given, names=names)
    if not glob.has_magic(path):
        raise DocumentError(
            f"There is no file or folder {path}. Check the path; it is seen from {Path.cwd()}."
        )
    root = _fixed(given)
    found = [file.relative_to(root) for file in root.glob(str(given.relative_to(root))) if file.is_file()]
    names = sorted(file.as_posix() for file in found if not any(part.startswith(".") for part in file.parts))
    if not names:
        raise DocumentError(f"No file matches the pattern {path}. It is seen from {Path.cwd()}.")
    return Tree(root=root, names=tuple(names))


def _fixed(pattern: Path) -> Path:
    """The folder that a pattern starts from: all parts before the first with a wildcard."""
    parts = pattern.parts[:-1]
    count = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:count])


def _stat(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
