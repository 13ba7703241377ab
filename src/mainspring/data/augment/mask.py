"""Texts with some of their words masked, left out or exchanged: cheap noise that a model learns to see through.

Source: Wei and Zou, "EDA", arXiv:1901.11196 (random deletion and random swap); masking as in BERT,
arXiv:1810.04805. Changed: exactly the rate of the words is taken, not each with a chance.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pydantic

from mainspring.config import Config
from mainspring.data.augment.base import Changed
from mainspring.data.document import stable_hash

WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


class Settings(Config):
    """How many words are changed, and how."""

    rate: float = pydantic.Field(default=0.1, gt=0, le=1, description="Share of the words; one at least.")
    action: Literal["mask", "delete", "swap"] = pydantic.Field(
        default="mask", description="Put `mask` in their place, leave them out, or exchange them."
    )
    mask: str = pydantic.Field(default="[MASK]", description="What stands for a masked word.")
    seed: int = pydantic.Field(default=0, ge=0, description="Another seed takes other words.")


class Mask:
    """Masks, deletes or swaps words; which ones depends on the seed and the text's key."""

    name = "mask"
    roles: tuple[str, ...] = ("user",)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, texts: Sequence[str], keys: Sequence[str], copy: int) -> list[Changed]:
        return [self._change(text, f"{key}\0{copy}") for text, key in zip(texts, keys, strict=True)]

    def _change(self, text: str, key: str) -> Changed:
        settings = self._settings
        words = list(WORD.finditer(text))
        is_swap = settings.action == "swap"
        most = len(words) - (settings.action == "delete")  # a text is never emptied
        count = min(max(2 if is_swap else 1, round(settings.rate * len(words))), most)
        if count < (2 if is_swap else 1):
            return Changed(reason="too few words")
        chance = np.random.default_rng(stable_hash(f"{settings.seed}\0{key}"))
        taken = chance.choice(len(words), count, replace=False).tolist()
        if not is_swap:
            taken.sort()
        given = {
            here: words[there].group() for here, there in zip(taken, [*taken[1:], taken[0]], strict=True)
        }
        changed = self._write(text, words, given)
        return Changed(text=changed) if changed != text else Changed(reason="the same again")

    def _write(self, text: str, words: list[re.Match[str]], given: dict[int, str]) -> str:
        """The text with words at their places replaced; a deleted word takes the blank behind it along."""
        parts, end = [], 0
        for number in sorted(given):
            word = words[number]
            parts.append(text[end : word.start()])
            end = word.end()
            if self._settings.action == "delete":
                end += text[end : end + 1] == " "
            else:
                parts.append(self._settings.mask if self._settings.action == "mask" else given[number])
        changed = "".join([*parts, text[end:]])
        return changed.rstrip(" ") if self._settings.action == "delete" else changed
