"""A recipe: everything that decides which documents a dataset holds, and who does the work.

name: books
sources:
  - {kind: files, path: library}
rules:
  - unicode
  - length: {min_words: 20}
dedup: {exact: true, near: {ngram: 5}}
split: {fractions: {train: 0.98, validation: 0.02}}
"""

from typing import Any

import pydantic

from mainspring.config import Config
from mainspring.data.assign import SplitSettings
from mainspring.data.executors.base import ExecutorSettings

NAME = r"^[A-Za-z0-9][\w.-]*$"
Switch = bool | dict[str, Any]
"""false: not done; true: done as usual; settings: done so."""


class DedupSettings(Config):
    """Which kinds of sameness are looked for."""

    exact: Switch = pydantic.Field(
        default=True, description="Documents with equal text: true, false, or settings."
    )
    near: Switch = pydantic.Field(
        default=True, description="Documents that share most of their text: true, false, or settings."
    )
    spans: Switch = pydantic.Field(
        default=False, description="Passages that stand in many documents: true, false, or settings."
    )


class SampleSettings(Config):
    """What is kept to look at. How many documents each reason met is always counted in full."""

    per_reason: int = pydantic.Field(
        default=20, ge=0, description="Samples kept of what a rule dropped or changed for one reason."
    )
    max_characters: int = pydantic.Field(default=600, ge=20, description="Of one sample.")


class Recipe(Config):
    """What `mainspring data build` makes."""

    name: str = pydantic.Field(pattern=NAME, description="Of the dataset.")
    sources: list[dict[str, Any]] = pydantic.Field(
        min_length=1, description="Where documents come from, in order: a `kind` and its settings each."
    )
    rules: list[str | dict[str, dict[str, Any] | None]] = pydantic.Field(
        default=[], description="What documents go through, in order: a name, or a name with settings."
    )
    dedup: DedupSettings = pydantic.Field(default=DedupSettings(), description="What stands there twice.")
    decontaminate: Switch = pydantic.Field(
        default=True,
        description="Keep out text of the evaluation sets that the workspace knows: true, false, or settings.",
    )
    evaluation_files: list[str] = pydantic.Field(
        default=[], description="More evaluation sets to keep out: files of JSON lines."
    )
    split: SplitSettings = pydantic.Field(
        default=SplitSettings(), description="Into which parts documents go."
    )
    samples: SampleSettings = pydantic.Field(default=SampleSettings(), description="What is kept to look at.")
    max_file_mb: float = pydantic.Field(
        default=256, gt=0, description="Size at which a file of documents ends and the next begins, MB."
    )
    executor: ExecutorSettings = pydantic.Field(
        default=ExecutorSettings(), description="Who does the work; decides nothing else."
    )
    license: str = pydantic.Field(default="", description="Of the documents, as far as it is one.")

    @pydantic.field_validator("rules")
    @classmethod
    def _one_rule_each(cls, rules: list[Any]) -> list[Any]:
        for rule in rules:
            if isinstance(rule, dict) and len(rule) != 1:
                raise ValueError(f"a rule is a name or one name with its settings, not {sorted(rule)}")
        return rules

    def steps(self) -> list[tuple[str, dict[str, Any]]]:
        """(name, settings) of every rule in order."""
        return [
            (rule, {})
            if isinstance(rule, str)
            else next((name, dict(given or {})) for name, given in rule.items())
            for rule in self.rules
        ]

    def identity(self) -> dict[str, Any]:
        """What decides the dataset: not who does the work, nor in parts of which size."""
        values = self.model_dump(mode="json", exclude={"executor"})
        sources = [
            {key: value for key, value in source.items() if key != "part_bytes"} for source in self.sources
        ]
        return {**values, "sources": sources}
