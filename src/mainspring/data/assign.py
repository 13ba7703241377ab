"""Into which split a document goes: told from the document alone, so that it stays there in every build."""

import re
from typing import Any, Literal

import msgspec
import pydantic

from mainspring.config import Config
from mainspring.data.document import stable_hash

SPLIT = re.compile(r"[A-Za-z0-9][\w-]*")
HASHES = 2**64


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What decides over the split of a document; the rest of its line is passed over."""

    id: str
    group: str = ""
    time: str = ""


class SplitSettings(Config):
    """How documents are split.

    By group or document, the place is a hash, so it does not change when other documents come or go. By
    time, nothing in an earlier split was written later than anything in a later one.
    """

    by: Literal["group", "document", "time"] = pydantic.Field(
        default="group",
        description="group: what belongs together stays together; document: each for itself; time: by dates.",
    )
    fractions: dict[str, float] = pydantic.Field(
        default={"train": 1.0}, description="Splits by group or document, with their shares of 1."
    )
    seed: int = pydantic.Field(default=0, ge=0, description="Another seed gives another split.")
    until: dict[str, str] = pydantic.Field(
        default={},
        description="Splits by time, with the ISO date before which their documents were written, in order.",
    )
    rest: str = pydantic.Field(
        default="test", description="By time, the split of documents from the last date on."
    )
    undated: str = pydantic.Field(
        default="train", description="By time, the split of documents that tell no time."
    )

    @pydantic.field_validator("until", mode="before")
    @classmethod
    def _dates_as_text(cls, until: Any) -> Any:
        """YAML makes a date of 2024-01-01."""
        return {name: str(end) for name, end in until.items()} if isinstance(until, dict) else until

    @pydantic.model_validator(mode="after")
    def _check(self) -> "SplitSettings":
        for name in (*self.fractions, *self.until, self.rest, self.undated):
            if not SPLIT.fullmatch(name):
                raise ValueError(f"'{name}' is no name of a split; use letters, digits, - and _")
        if min(self.fractions.values(), default=0) <= 0 or abs(sum(self.fractions.values()) - 1) > 1e-9:
            raise ValueError(
                f"fractions are positive and add up to 1, not to {sum(self.fractions.values()):g}"
            )
        if self.by == "time" and not self.until:
            raise ValueError("a split by time needs `until`, such as {train: 2024-01-01}")
        if list(self.until.values()) != sorted(self.until.values()):
            raise ValueError("the dates of `until` ascend")
        return self

    def names(self) -> list[str]:
        """All splits there may be, in order."""
        by_time = [*self.until, self.rest, self.undated]
        return list(dict.fromkeys(by_time if self.by == "time" else self.fractions))


class Assign:
    """Says where a document goes."""

    def __init__(self, settings: SplitSettings) -> None:
        self.settings = settings
        self._ends, total = [], 0.0
        for name, fraction in settings.fractions.items():
            total += fraction
            self._ends.append((name, round(total * HASHES)))

    def __call__(self, place: Place) -> str:
        settings = self.settings
        if settings.by == "time":
            return self._by_time(place.time)
        key = place.group if settings.by == "group" and place.group else place.id
        drawn = stable_hash(f"{settings.seed}\0{key}")
        return next((name for name, end in self._ends if drawn < end), self._ends[-1][0])

    def _by_time(self, time: str) -> str:
        """ISO times compare as text, as far as both tell them."""
        if not time:
            return self.settings.undated
        return next((name for name, end in self.settings.until.items() if time < end), self.settings.rest)
