"""A recipe with everything filled in that it leaves out; what it names and is not there is told here.

Nothing is brought, read or written for it, so that a recipe is refused before a run begins for it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from mainspring.artifact import fingerprint_of, sha256_of
from mainspring.config import build
from mainspring.data import contaminate, same
from mainspring.data.feeds import base as feeds
from mainspring.data.feeds.base import Feed
from mainspring.data.recipe import Recipe
from mainspring.data.rules import base as rules
from mainspring.errors import ConfigError, UserError

Step = tuple[str, str, dict[str, Any]]
"""What a rule is called in reports, its name, and all of its settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Feeds that are not prepared yet, rules, kinds of sameness, and how evaluation text is kept out, or None."""

    feeds: list[Feed]
    steps: list[Step]
    kinds: same.Kinds
    decontaminate: contaminate.Settings | None

    def rule_configs(self) -> list[dict[str, Any]]:
        """All that decides what the rules do."""
        return [_config(name, settings) for _, name, settings in self.steps]


def check(recipe: Recipe) -> None:
    """Raise the error of a recipe that cannot be followed, or of a rule that misses something here."""
    for _, name, settings in resolve(recipe).steps:
        rules.make(name, settings)


def resolve(recipe: Recipe) -> Resolved:
    """Fill in a recipe.

    Raises:
        ConfigError: a kind, rule or setting that does not exist.
        DocumentError: a source where nothing is.
        UserError: two sources of one name.

    """
    steps, kinds, decontaminate = _steps(recipe), same.resolve(recipe.dedup), _decontaminate(recipe)
    made = [feeds.make(source) for source in recipe.sources]
    twice = [name for name, count in Counter(feed.name for feed in made).items() if count > 1]
    if twice:
        raise UserError(
            f"Two sources are named '{twice[0]}', so their documents would have the same ids. Give each a `name`."
        )
    return Resolved(feeds=made, steps=steps, kinds=kinds, decontaminate=decontaminate)


def _steps(recipe: Recipe) -> list[Step]:
    """The rules with their defaults filled in; one that stands there again gets a number."""
    steps: list[Step] = []
    seen: Counter[str] = Counter()
    for name, given in recipe.steps():
        module = rules.rule_module(name)
        try:
            settings: pydantic.BaseModel = build(module.Settings, given)
        except ConfigError as error:
            raise ConfigError(f"In the rule {name}: {error}") from None
        seen[name] += 1
        called = name if seen[name] == 1 else f"{name}-{seen[name]}"
        steps.append((called, name, settings.model_dump(mode="json")))
    return steps


def _decontaminate(recipe: Recipe) -> contaminate.Settings | None:
    if recipe.decontaminate is False:
        return None
    given = {} if recipe.decontaminate is True else recipe.decontaminate
    try:
        return build(contaminate.Settings, given)
    except ConfigError as error:
        raise ConfigError(f"In decontaminate: {error}") from None


def _config(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A rule's settings, its edition, and what is in the files that the settings name."""
    config = {"rule": name, "edition": rules.rule_module(name).EDITION, **settings}
    files = {path: _content(Path(path)) for path in sorted(_paths(settings))}
    return {**config, "files": files} if files else config


def _paths(value: Any) -> set[str]:
    """Texts within settings that are paths of what exists."""
    if isinstance(value, str):
        return {value} if ("/" in value or "." in value) and Path(value).exists() else set()
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return {path for each in inner for path in _paths(each)}


def _content(path: Path) -> str:
    if path.is_file():
        return sha256_of(path)
    found = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return fingerprint_of([(file.relative_to(path).as_posix(), sha256_of(file)) for file in found])
