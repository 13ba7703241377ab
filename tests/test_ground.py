import subprocess
import sys
from pathlib import Path

import pytest

import mainspring
from mainspring import schema

PACKAGE = Path(mainspring.__file__).parent
GROUND = sorted(
    f"mainspring.{path.stem}"
    for path in PACKAGE.glob("*.py")
    if path.stem not in {"__init__", "__main__", "app", "directory"}  # the last two join the rooms
)


def imported_by(code: str) -> set[str]:
    report = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_ground_imports_no_torch_and_no_room():
    loaded = imported_by("\n".join(f"import {name}" for name in GROUND))
    rooms = {f"mainspring.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
    assert set(GROUND) <= loaded
    assert not loaded & ({"torch", "transformers", "tokenizers", "starlette"} | rooms)


def test_importing_the_package_imports_none_of_its_names():
    loaded = imported_by("import mainspring")
    assert not {name for name in loaded if name.startswith("mainspring.")}


def test_every_public_name_resolves():
    assert all(getattr(mainspring, name) is not None for name in mainspring.__all__)
    assert mainspring.Message is schema.Message


def test_an_unknown_name_is_told_with_the_names_there_are():
    with pytest.raises(AttributeError, match=r"no name 'Workspaces'; it has Message, Sampling, Workspace"):
        _ = mainspring.Workspaces
