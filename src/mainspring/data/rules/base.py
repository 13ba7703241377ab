"""What a rule is, and the list of those there are.

A rule's file holds its settings and the rule, and names in its docstring where the rule comes from:

    class Settings(Config): ...            what a recipe may set
    class Rule: name; __call__(document) -> Outcome
    EDITION = 1                            raised when the rule decides otherwise for the same document
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import msgspec

from mainspring.config import Config, build
from mainspring.data.document import Document
from mainspring.errors import ConfigError

RULES: tuple[str, ...] = (
    "unicode",
    "boilerplate",
    "language",
    "gopher_repetition",
    "gopher",
    "c4",
    "fineweb",
    "toxicity",
    "quality",
    "pii",
)
"""In the order in which they are usually run: cheap and repairing ones first."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule made of a document.

    `document` is None where it is dropped. `reason` is a short constant of the rule ("too_short",
    "repaired"), "" where nothing happened; `numbers` are what was measured against the limits; `sample` is
    the text that decided, where that is less than the whole.
    """

    document: Document | None
    reason: str = ""
    numbers: dict[str, float] = {}
    sample: str = ""


class Rule(Protocol):
    """Decides over one document at a time, from the document alone. Made anew in every worker process."""

    name: str

    def __call__(self, document: Document) -> Outcome: ...


def keep(document: Document) -> Outcome:
    """The document as it is."""
    return Outcome(document=document)


def drop(reason: str, numbers: Mapping[str, float] | None = None, sample: str = "") -> Outcome:
    """No document, and why."""
    return Outcome(document=None, reason=reason, numbers=dict(numbers or {}), sample=sample)


def change(
    document: Document, reason: str, *, text: str | None = None, numbers: Mapping[str, float] | None = None,
    sample: str = "", **meta: Any,
) -> Outcome:  # fmt: skip
    """The document with another text, or with more said of it."""
    changed = msgspec.structs.replace(
        document, text=document.text if text is None else text, meta={**document.meta, **meta}
    )
    return Outcome(document=changed, reason=reason, numbers=dict(numbers or {}), sample=sample)


def make(name: str, settings: Mapping[str, Any] | None = None) -> Rule:
    """A rule by its name, with the settings of a recipe.

    Raises:
        ConfigError: an unknown rule (the nearest is named) or an unknown setting.

    """
    module = rule_module(name)
    return module.Rule(build(module.Settings, dict(settings or {})))


def rule_module(name: str) -> Any:
    """The file of a rule."""
    if name not in RULES:
        raise ConfigError(f"There is no rule '{name}'; there are {', '.join(RULES) or 'none'}.")
    return import_module(f"mainspring.data.rules.{name}")


class NoSettings(Config):
    """A rule without anything to set."""
