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

from mainspring.artifact import fingerprint_of
from mainspring.data import contaminate, same
from mainspring.data.contaminate import Contaminate
from mainspring.data.feeds.base import Feed, Part
from mainspring.data.known_sets import known_sets
from mainspring.data.recipe import Recipe
from mainspring.data.resolve import Step, resolve
from mainspring.registry import Registry

EDITION = 1
"""Raised when the pipeline itself makes something else of the same recipe and the same sources."""


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
    resolved = resolve(recipe)
    for feed in resolved.feeds:
        feed.prepare(sources)
    fingerprints = {feed.name: feed.fingerprint() for feed in resolved.feeds}
    rules, kinds = resolved.rule_configs(), resolved.kinds
    shared = [EDITION, rules, kinds, recipe.samples.model_dump(mode="json")]
    tasks = [
        Task(feed=number, part=part, key=fingerprint_of([fingerprints[feed.name], part, shared])[:24])
        for number, feed in enumerate(resolved.feeds)
        for part in feed.parts()
    ]
    keep_out, evaluation = _keep_out(recipe, resolved.decontaminate, registry)
    identity = {**recipe.identity(), "rules": rules, "dedup": kinds}
    config = {"recipe": identity, "sources": fingerprints, "evaluation": evaluation, "pipeline": EDITION}
    return Plan(
        recipe=recipe, feeds=resolved.feeds, steps=resolved.steps, kinds=kinds, contaminate=keep_out, tasks=tasks,
        config=config,
    )  # fmt: skip


def differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> list[str]:
    """One line for each value that is not the same, by its dotted key."""
    lines: list[str] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, list) and isinstance(new, list):
            old, new = ({str(place): each for place, each in enumerate(values)} for values in (old, new))
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{at}{key}.")
        elif old != new:
            lines.append(f"{at}{key}: {_short(old)} then, {_short(new)} now")
    return lines


def _keep_out(
    recipe: Recipe, settings: contaminate.Settings | None, registry: Registry
) -> tuple[Contaminate | None, dict[str, Any]]:
    """What keeps evaluation text out, and what of it is kept out: the sets with their numbers of texts."""
    if settings is None:
        return None, {}
    own = f"dataset/{recipe.name}@"  # an earlier version of itself is not asked of a model
    known = known_sets(registry, map(Path, recipe.evaluation_files))
    texts = [each for each in known if not each[0].startswith(own)]
    if not texts:
        return None, {}
    made = Contaminate(settings, texts)
    config = {
        "settings": settings.model_dump(mode="json"),
        "sets": dict(Counter(name.partition("#")[0] for name, _ in texts)),
        "too_short": made.leaks.num_ignored,
        "texts": fingerprint_of(texts),
    }
    return made, config


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
