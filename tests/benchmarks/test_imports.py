"""To run all benchmarks and scripts takes days; that each finds what it imports of ours is known at once."""

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(file for folder in ("benchmarks", "scripts") for file in (ROOT / folder).rglob("*.py"))


def file_of(module: str, folder: Path) -> Path | None:
    """Our own module's file, None of others."""
    if module.split(".", maxsplit=1)[0] == "mainspring":
        found = importlib.util.find_spec(module)
        assert found is not None, f"{module} does not exist"
        return Path(found.origin or "")
    beside = folder / f"{module}.py"
    return beside if beside.exists() else None


def names_in(file: Path) -> set[str]:
    """All names that a module binds, wherever it does, and a package's modules."""
    names = {each.stem for each in file.parent.iterdir()} if file.name == "__init__.py" else set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias(name=name, asname=asname):
                names.add(asname or name)
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_script_imports_of_ours_is_there(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        origin = file_of(node.module, file.parent)
        if origin is not None:
            missing = {alias.name for alias in node.names} - names_in(origin)
            assert not missing, f"{node.module} has no {', '.join(missing)}"
