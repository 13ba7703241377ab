import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_file_of_the_package_that_is_not_python_is_installed_with_it():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    package = ROOT / "src" / "mainspring"
    globs = settings["tool"]["setuptools"]["package-data"]["mainspring"]
    installed = {path for glob in globs for path in package.glob(glob)}
    there = {path for path in package.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert there - installed == set()
