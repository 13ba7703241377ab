"""What a build will do: feeds, parts and their keys, rules with all their settings, and a fingerprint of it all.

A part's key is a hash over everything that decides what a worker makes of it. The folder of a finished part has
its key as its name, so that parts which something has changed for are made again, and only those.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pydantic

from mainspring.artifact import fingerprint_of
from mainspring.config import build
from mainspring.data import same
from mainspring.data.contaminate import Contaminate, Settings
from mainspring.data.feeds import base as feeds
from mainspring.data.feeds.base import Feed, Part
from mainspring.data.known_sets import known_sets
from mainspring.data.recipe import Recipe
from mainspring.data.rules import base as rules
from mainspring.errors import ConfigError, UserError
from mainspring.progress import say
from mainspring.registry import Registry

EDITION = 1
"""Raised when the pipeline itself makes something else of the same recipe and the same sources."""

Step = tuple[str, str, dict[str, Any]]
"""What a rule is called in reports, its name, and all of its settings."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One part to be read: the number of its feed, and the key that its folder is named by."""

    feed: int
    part: Part
    key: str

    def __str__(self) -> str:
        part = self.part
        names = f"/{part.names[0]}" if part.names else ""
        others = f" and {len(part.names) - 1:,} files behind it" if len(part.names) > 1 else ""
        stretch = f" ({part.start:,} to {part.end:,})" if part.end else ""
        return f"{part.path}{names}{others}{stretch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided before the first document is read.

    `config` says it all in plain values; equal configs make equal datasets.
    """

    recipe: Recipe
    feeds: list[Feed]
    steps: list[Step]
    kinds: same.Kinds
    contaminate: Contaminate | None
    tasks: list[Task]
    config: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.config)


def make_plan(recipe: Recipe, sources: Path, registry: Registry) -> Plan:
    """Make ready what a recipe names.

    Args:
        recipe: what to make.
        sources: the folder where what is remote is brought to.
        registry: whose evaluation sets are kept out.

    Raises:
        ConfigError: a kind, rule or setting that does not exist.
        DocumentError: a source that holds nothing.

    """
    steps, kinds = _steps(recipe), same.resolve(recipe.dedup)
    made = [feeds.make(source) for source in recipe.sources]
    _check_names(made)
    for feed in made:
        feed.prepare(sources)
    fingerprints = {feed.name: feed.fingerprint() for feed in made}
    rule_config = [
        {"rule": name, "edition": rules.rule_module(name).EDITION, **given} for _, name, given in steps
    ]
    shared = [EDITION, rule_config, kinds, recipe.samples.model_dump(mode="json")]
    tasks = [
        Task(feed=number, part=part, key=fingerprint_of([fingerprints[feed.name], part, shared])[:24])
        for number, feed in enumerate(made)
        for part in feed.parts()
    ]
    contaminate, evaluation = _contaminate(recipe, registry)
    identity = {**recipe.identity(), "rules": rule_config, "dedup": kinds}
    config = {"recipe": identity, "sources": fingerprints, "evaluation": evaluation, "pipeline": EDITION}
    return Plan(
        recipe=recipe, feeds=made, steps=steps, kinds=kinds, contaminate=contaminate, tasks=tasks, config=config
    )  # fmt: skip


def differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> list[str]:
    """One line for each value that is not the same, by its dotted key."""
    lines: list[str] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{at}{key}.")
        elif old != new:
            lines.append(f"{at}{key}: {_short(old)} then, {_short(new)} now")
    return lines


def _steps(recipe: Recipe) -> list[Step]:
    """The rules with their defaults filled in; one that stands there again gets a number."""
    steps: list[Step] = []
    seen: Counter[str] = Counter()
    for name, given in recipe.steps():
        module = rules.rule_module(name)
        try:
            settings: pydantic.BaseModel = build(module.Settings, given)
            rules.make(name, given)  # what it needs and is not there is told now, not by the workers
        except ConfigError as error:
            raise ConfigError(f"In the rule {name}: {error}") from None
        seen[name] += 1
        called = name if seen[name] == 1 else f"{name}-{seen[name]}"
        steps.append((called, name, settings.model_dump(mode="json")))
    return steps


def _contaminate(recipe: Recipe, registry: Registry) -> tuple[Contaminate | None, dict[str, Any]]:
    """What keeps evaluation text out, and what of it is kept out: the sets with their numbers of texts."""
    if recipe.decontaminate is False:
        return None, {}
    given = {} if recipe.decontaminate is True else recipe.decontaminate
    try:
        settings = build(Settings, given)
    except ConfigError as error:
        raise ConfigError(f"In decontaminate: {error}") from None
    own = f"dataset/{recipe.name}@"
    texts = [
        each
        for each in known_sets(registry, map(Path, recipe.evaluation_files))
        if not each[0].startswith(own)
    ]
    if not texts:
        say("no evaluation set is known to this workspace, so no text of one is kept out")
        return None, {}
    sets = Counter(name.partition("#")[0] for name, _ in texts)
    config = {
        "settings": settings.model_dump(mode="json"),
        "sets": dict(sets),
        "texts": fingerprint_of(texts),
    }
    return Contaminate(settings, texts), config


def _check_names(made: list[Feed]) -> None:
    twice = [name for name, count in Counter(feed.name for feed in made).items() if count > 1]
    if twice:
        raise UserError(
            f"Two sources are named '{twice[0]}', so their documents would have the same ids. Give each a `name`."
        )


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
