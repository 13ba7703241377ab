r"""Right or wrong: the answer's last number, or what it marks as its answer, is exactly the reference's.

Marked is what stands in the last `\boxed{...}` or behind the last `####`, as GSM8K writes it (arXiv:2110.14168).
Numbers are compared as fractions: 1,000 = 1000.0, 3/4 = 0.75 = \frac{3}{4}. Signs of currency and percent and
units are left out, so 50% = 50. A marked answer without a number is compared as text, its spaces left out.
"""

import re
from fractions import Fraction
from typing import Literal

from pydantic import Field

from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.train.rewards.base import Reference, named

MAX_DIGITS = 1000
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\d))?|\.\d+"
SIGNS = "-\N{MINUS SIGN}"
NUMBER = re.compile(rf"(?:(?<![\w)])[{SIGNS}+])?[$€£]?(?P<above>{_DIGITS})(?:\s?/\s?(?P<below>{_DIGITS}))?")
LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\text\s*\{[^{}]*\}|\\(?:left|right|,|;|!| )|\\(?=[$%])"), ""),
)


class Math(Config):
    """1 for the reference's number, 0 for any other answer."""

    kind: Literal["math"] = "math"
    is_marked: bool = Field(
        default=False,
        description="count only answers that are marked, by #### or \\boxed, not the last number",
    )

    def __call__(self, prompt: str, answer: str, reference: Reference) -> float:
        wanted = value_of(named(reference, "answer", self.kind))
        if wanted is None:
            raise ConfigError(
                f"The reference {reference!r} holds no number and marks no answer. Give a number, `#### 42` or "
                "`\\boxed{42}`."
            )
        return float(value_of(answer, is_marked=self.is_marked) == wanted)


def value_of(text: str, *, is_marked: bool = False) -> Fraction | str | None:
    """The number that a text answers with, the text it marks without a number, or None for neither."""
    marked = _marked(text)
    if marked is not None:
        numbers = _numbers(marked)
        return numbers[0] if len(numbers) == 1 else "".join(marked.split()) or None
    numbers = [] if is_marked else _numbers(text)
    return numbers[-1] if numbers else None


def _marked(text: str) -> str | None:
    """What the last mark holds."""
    box, hashes = text.rfind("\\boxed{"), text.rfind("####")
    if box > hashes:
        start = box + len("\\boxed{")
        depth = 1
        for index in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[index], 0)
            if depth == 0:
                return text[start:index]
        return None  # never closed
    return None if hashes < 0 else text[hashes + 4 :].lstrip().partition("\n")[0].strip()


def _numbers(text: str) -> list[Fraction]:
    for pattern, plain in LATEX:
        text = pattern.sub(plain, text)
    found = (_fraction(match) for match in NUMBER.finditer(text))
    return [each for each in found if each is not None]


def _fraction(match: re.Match[str]) -> Fraction | None:
    above, below = match["above"].replace(",", ""), (match["below"] or "1").replace(",", "")
    if max(len(above), len(below)) > MAX_DIGITS or not Fraction(below):
        return None
    value = Fraction(above) / Fraction(below)
    return -value if match[0][0] in SIGNS else value
