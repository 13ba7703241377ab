"""Whether an answer has a form: a regular expression matches it, whole or somewhere.

A pattern that backtracks without end is stopped: that is an error of the pattern and shown as such.
"""

from typing import Literal

from pydantic import Field

from mainspring.config import Config
from mainspring.errors import ConfigError, MainspringError, MissingExtraError
from mainspring.train.rewards.base import Reference, named


class Regex(Config):
    """1 where the pattern matches, 0 where it does not."""

    kind: Literal["regex"] = "regex"
    pattern: str = Field(default="", description='the expression; "" takes the reference (or its `pattern`)')
    where: Literal["full", "search"] = Field(
        default="full", description="must the whole answer match, or any part of it"
    )
    is_multiline: bool = Field(default=True, description="a dot matches the ends of lines too")
    timeout_s: float = Field(default=1.0, gt=0, description="longest time for one answer")

    def __call__(self, prompt: str, answer: str, reference: Reference) -> float:
        try:
            import regex
        except ImportError:
            raise MissingExtraError("regex", "rewards", "The reward 'regex'") from None
        pattern = self.pattern or named(reference, "pattern", self.kind)
        try:
            compiled = regex.compile(pattern, regex.DOTALL if self.is_multiline else 0)
            match = compiled.fullmatch if self.where == "full" else compiled.search
            return float(match(answer, timeout=self.timeout_s) is not None)
        except regex.error as error:
            raise ConfigError(f"The pattern {pattern!r} is no regular expression: {error}.") from error
        except TimeoutError:
            raise MainspringError(
                f"The pattern {pattern!r} took more than {self.timeout_s:g} s on an answer of {len(answer):,} "
                "characters: it tries the same text in too many ways. Write repeats that cannot overlap."
            ) from None
