"""Decontamination: text that evaluation sets ask for is kept out of training.

A document is contaminated if it shares a run of 13 words with an evaluation text, or the whole of a shorter
one. It is dropped, or the shared text is cut out with 200 characters around it, and the document is dropped
only if too many pieces are left. Paper: GPT-3, arXiv:2005.14165, appendix C, whose numbers are the defaults;
what is changed: the pieces stay one document, and a text is found as a whole from 8 words on (there, the
length of a run is chosen by evaluation set between 8 and 13).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import pydantic

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.leaks import Leaks, Overlap
from mainspring.data.rules.base import Outcome, change, drop, keep

MAX_SAMPLE = 400
BETWEEN_PIECES = "\n\n"


class Settings(Config):
    """What counts as evaluation text, and what becomes of a document with it."""

    ngram: int = pydantic.Field(default=13, ge=1, description="Words in a row that count as taken over.")
    min_words: int = pydantic.Field(
        default=8, ge=1, description="Shorter evaluation texts are found as a whole, down to this many words."
    )
    min_overlap: float = pydantic.Field(
        default=0,
        ge=0,
        le=1,
        description="Part of an evaluation text that must be there; 0: one run is enough.",
    )
    policy: Literal["drop", "cut"] = pydantic.Field(
        default="drop", description="Drop the document, or cut the shared text out of it."
    )
    window_characters: int = pydantic.Field(
        default=200, ge=0, description="Cut on both sides of shared text."
    )
    min_piece_characters: int = pydantic.Field(
        default=200, ge=1, description="Shorter pieces go when cutting."
    )
    max_pieces: int = pydantic.Field(
        default=10, ge=1, description="A document cut into more of them is dropped."
    )

    @pydantic.model_validator(mode="after")
    def _check_words(self) -> "Settings":
        if self.min_words > self.ngram:
            raise ValueError(
                f"min_words is {self.min_words} and ngram {self.ngram}; a text found as a whole is shorter than a "
                "run. Set min_words to ngram or less"
            )
        return self


class Contaminate:
    """Drops or cuts documents that share text with evaluation sets. Made once; workers get a copy."""

    name = "contaminate"

    def __init__(self, settings: Settings, evaluation_texts: Iterable[tuple[str, str]]) -> None:
        """Index the texts: (name, text), a name being `set#item`."""
        self.settings = settings
        self.leaks = Leaks(evaluation_texts, settings.ngram, settings.min_words)

    def __call__(self, document: Document) -> Outcome:
        """The document as it is, without the shared text, or none; `sample` names the text and quotes it."""
        overlaps = self.leaks.overlaps(document.text, self.settings.min_overlap)
        if not overlaps:
            return keep(document)
        longest = max(overlaps, key=lambda each: each.end - each.start)
        quote = " ".join(document.text[longest.start : longest.end].split())[:MAX_SAMPLE]
        numbers = {
            "evaluation_texts": float(len({each.name for each in overlaps})),
            "overlap": max(each.part for each in overlaps),
        }
        found = {"numbers": numbers, "sample": f"{longest.name}: {quote}"}
        if self.settings.policy == "drop":
            return drop("evaluation_text", **found)
        pieces = list(self._pieces(document.text, overlaps))
        if len(pieces) > self.settings.max_pieces:
            return drop("evaluation_text_in_many_places", **found)
        text = BETWEEN_PIECES.join(
            piece for piece in pieces if len(piece) >= self.settings.min_piece_characters
        )
        if not text or self.leaks.overlaps(
            text, self.settings.min_overlap
        ):  # joining may bring words together anew
            return drop("evaluation_text", **found)
        return change(document, "evaluation_text_cut", text=text, **found)

    def _pieces(self, text: str, overlaps: Sequence[Overlap]) -> Iterator[str]:
        """What is left between the overlaps and the characters around them."""
        start = 0
        for overlap in sorted(overlaps, key=lambda each: each.start):
            end = overlap.start - self.settings.window_characters
            if end > start and (piece := text[start:end].strip()):
                yield piece
            start = max(start, overlap.end + self.settings.window_characters)
        if piece := text[start:].strip():
            yield piece
