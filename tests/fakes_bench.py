"""A place to build datasets in, for tests."""

from pathlib import Path
from typing import Any

import fakes_build as fakes
from mainspring.app import Workspace
from mainspring.config import build as make_config
from mainspring.data.build import Built, build_dataset
from mainspring.data.recipe import Recipe


class Bench:
    """A registry and runs in a folder, and builds in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        workspace = Workspace(root)
        self.registry, self.runs = workspace.registry, workspace.runs

    def build(self, recipe: dict, **options) -> Built:
        return build_dataset(self.registry, self.runs, make_config(Recipe, recipe), **options)

    def resume(self, run: str, **options) -> Built:
        return build_dataset(self.registry, self.runs, None, resume=run, **options)

    def folder(self, built: Built) -> Path:
        return self.registry.folder(built.dataset)

    def tree(self, built: Built) -> dict[str, bytes]:
        return fakes.tree(self.folder(built))

    def documents(self, built: Built, split: str) -> list[tuple[str, str]]:
        files = sorted((self.folder(built) / "documents").glob(f"{split}-*.jsonl"))
        return [(line["id"], line["text"]) for path in files for line in fakes.lines(path)]

    def dropped(self, built: Built) -> list[tuple[str, str, str, str]]:
        found = fakes.lines(self.folder(built) / "dropped.jsonl")
        return sorted((each["id"], each["rule"], each["reason"], each.get("of", "")) for each in found)


def recipe_of(path: Path, part_bytes: int = 3000, *, min_words: int = 3, **settings: Any) -> dict[str, Any]:
    """A recipe for a file of rows: quiet, short, exact duplicates, in this process."""
    return {
        "name": "rows",
        "sources": [{"kind": "fake", "path": str(path), "part_bytes": part_bytes}],
        "rules": ["quiet", {"short": {"min_words": min_words}}],
        "dedup": {"near": False},
        "executor": {"workers": 1},
        **settings,
    }
