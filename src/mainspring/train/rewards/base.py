"""What a reward is: from a prompt and an answer to a number.

A kind is a frozen configuration with a literal `kind`; calling it judges one answer. What the answer is compared
with, the reference, comes with the prompt: text, or several texts by name, or nothing.
"""

from collections.abc import Mapping
from typing import Protocol

from mainspring.errors import ConfigError

Reference = Mapping[str, str] | str | None


class Reward(Protocol):
    """A way to judge an answer. An error it raises stops the run and shows the sample (score.py)."""

    @property
    def kind(self) -> str: ...

    def __call__(self, prompt: str, answer: str, reference: Reference) -> float:
        """What the answer is worth, from 0 to 1 where the kind does not say otherwise."""
        ...


def named(reference: Reference, name: str, kind: str) -> str:
    """The text of a reference that a kind needs: the whole of it, or the one under `name`.

    Raises:
        ConfigError: there is none.

    """
    if isinstance(reference, str):
        return reference
    if reference is None or name not in reference:
        given = "no reference" if reference is None else f"a reference of {', '.join(reference) or 'nothing'}"
        raise ConfigError(
            f"The reward '{kind}' was given {given}; it compares with the reference's '{name}'. Add it to the "
            "prompt, as text or under that name."
        )
    return reference[name]
