"""What one document may cost while it is read, whatever its file claims."""

import pydantic

from mainspring.config import Config


class ParseLimits(Config):
    """Limits of the formats that are read in a process of their own, archives among them."""

    seconds: int = pydantic.Field(
        default=60, ge=1, description="Most seconds of processor time that one document may take."
    )
    memory_bytes: int = pydantic.Field(
        default=1_000_000_000,
        ge=200_000_000,
        description="Most memory of the process that reads a document, in bytes (enforced on Linux).",
    )
    max_pages: int = pydantic.Field(
        default=5_000, ge=1, description="Most pages of a PDF or slides of a presentation."
    )
    max_inflated_bytes: int = pydantic.Field(
        default=200_000_000, ge=1, description="Most bytes that an office file may inflate to."
    )
    max_entries: int = pydantic.Field(
        default=10_000, ge=1, description="Most files that an office file may be made of."
    )
    max_ratio: int = pydantic.Field(
        default=200,
        ge=1,
        description="Most times its own size that an office file over 10 MB may inflate to.",
    )
