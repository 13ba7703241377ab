"""Which labels the documents of a dataset may bear."""

import math
from dataclasses import dataclass
from typing import Any

from mainspring.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Names, or numbers from `low` to `high`, both among them."""

    names: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    def allows(self, label: Any) -> bool:
        if self.names:
            return str(label) in self.names
        is_number = isinstance(label, int | float) and not isinstance(label, bool)
        return is_number and self.low <= label <= self.high

    def __str__(self) -> str:
        return ", ".join(self.names) if self.names else f"{self.low:g} to {self.high:g}"


def allowed_of(given: Any) -> Allowed | None:
    """What "0:4", "no,maybe,yes" or a list of names allows; None where nothing is given.

    Raises:
        ConfigError: anything else.

    """
    if not given:
        return None
    if isinstance(given, list | tuple):
        return Allowed(names=tuple(map(str, given)))
    text = str(given)
    low, colon, high = text.partition(":")
    if not colon:
        return Allowed(names=tuple(name.strip() for name in text.split(",")))
    try:
        found = Allowed(low=float(low or "-inf"), high=float(high or "inf"))
    except ValueError:
        found = None
    if found is None or not found.low <= found.high:
        raise ConfigError(
            f"'{text}' does not say which labels are allowed; write a range such as 0:4, or names such as no,yes."
        )
    return found
