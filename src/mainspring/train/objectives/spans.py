"""Span corruption: an encoder reads a text with gaps, a decoder says what stood in them.

    text      Thank you for inviting me to your party last week
    source    Thank you <0> me to your party <1> week
    answer    <0> for inviting <1> last <2>

Paper: arXiv:1910.10683, section 3.1.4 and table 3: 15 % of the tokens, in spans of 3 on average.
"""

import itertools
import random
import re
from dataclasses import replace
from typing import Literal, Self

from pydantic import Field

from mainspring.errors import ConfigError
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.batch import Segment
from mainspring.train.objectives.sft import CrossEntropy

SENTINEL = re.compile(r"<extra_id_(\d+)>")


class SpanCorruption(CrossEntropy):
    """-log p of the gaps' tokens and of the sentinels before them."""

    kind: Literal["span_corruption"] = "span_corruption"
    fraction: float = Field(default=0.15, gt=0, lt=1, description="part of the tokens that gaps take")
    span: float = Field(default=3.0, ge=1, description="tokens of a gap on average")
    sentinels: tuple[int, ...] = Field(
        default=(), description="ids of the gaps in turn; empty: the tokenizer's"
    )
    start_id: int = Field(default=0, ge=0, description="what the decoder begins with (T5: the padding id)")

    def fitted(self, tokenizer: Tokenizer) -> Self:
        """With the sentinels of a tokenizer.

        Raises:
            ConfigError: it has fewer than two.

        """
        named = {
            int(match[1]): token
            for text, token in tokenizer.special.items()
            if (match := SENTINEL.fullmatch(text))
        }
        sentinels = self.sentinels or tuple(named[number] for number in sorted(named))
        if len(sentinels) < 2:
            raise ConfigError(
                "The tokenizer has no sentinels <extra_id_0>, <extra_id_1> ...; use one of a T5 model, or set "
                "`objective.sentinels` to ids that no text has."
            )
        return self.model_copy(update={"sentinels": sentinels})

    def view(self, segment: Segment, draw: random.Random) -> Segment:
        """The text with gaps, and what is said of them."""
        source: list[int] = []
        said: list[int] = []
        end = 0
        gaps = self._gaps(len(segment.ids), draw)
        for sentinel, (start, length) in zip(self.sentinels, gaps, strict=False):
            source += [*segment.ids[end:start], sentinel]
            said += [sentinel, *segment.ids[start : start + length]]
            end = start + length
        source += segment.ids[end:]
        said.append(self.sentinels[len(gaps)])
        ids = [self.start_id, *said]
        return replace(segment, source=source, ids=ids, weight=[0.0] + [1.0] * len(said))

    def _gaps(self, num_tokens: int, draw: random.Random) -> list[tuple[int, int]]:
        """(start, length) of the gaps, none beside another: both gaps and what lies between are cut at random."""
        hidden = min(max(1, round(num_tokens * self.fraction)), num_tokens - 1)
        most = len(self.sentinels) - 1
        num_gaps = min(max(1, round(hidden / self.span)), most, hidden, num_tokens - hidden)
        gaps, between = _cut(hidden, num_gaps, draw), _cut(num_tokens - hidden, num_gaps, draw)
        places, at = [], 0
        for length, before in zip(gaps, between, strict=True):
            places.append((at + before, length))
            at += before + length
        return places


def _cut(total: int, num_parts: int, draw: random.Random) -> list[int]:
    """Cut into parts of at least 1."""
    borders = [0, *sorted(draw.sample(range(1, total), num_parts - 1)), total]
    return [after - before for before, after in itertools.pairwise(borders)]
