"""Who asks, and as of when: what a search may see, decided before anything is scored."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One tenant's documents as of a version (None: the newest), without the documents named in `without`."""

    tenant: str = "local"
    version: int | None = None
    without: frozenset[str] = field(default_factory=frozenset)
