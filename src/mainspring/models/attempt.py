"""A text through a model of any family, and what its head makes of it.

    lm, alone             the text goes on
    lm, with an encoder   the text is the source, and an answer is generated
    masked                the likeliest words for every mask token in the text
    classify              labels with probabilities, of the text or of every token
    no head               the vector that the text is pooled to

Shapes: T tokens, D width, N rows, C labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mainspring.errors import ContextLengthError, UserError, WeightsError
from mainspring.models.attend import PackedAttend
from mainspring.models.generate import generate
from mainspring.models.load import load, read_json
from mainspring.models.memory import Memory, MemorySettings, recall
from mainspring.models.model import Model
from mainspring.models.pool import pool
from mainspring.tokenizer.base import Tokenizer

TOP = 5
MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """`text` of a language model; else rows of (what, choices with their probabilities)."""

    kind: str
    text: str = ""
    rows: tuple[tuple[str, dict[str, float]], ...] = ()


class Attempt:
    """A model's folder, loaded with its tokenizer; `memory` is a folder that `remember` wrote."""

    def __init__(
        self, folder: Path, memory: Path | None = None, settings: MemorySettings | None = None
    ) -> None:
        self.model: Model = load(folder)
        self.tokenizer = Tokenizer.load(folder)
        if self.tokenizer.vocab_size > self.model.config.vocab_size:
            raise WeightsError(
                f"The tokenizer in {folder} has {self.tokenizer.vocab_size:,} ids, the model's embedding "
                f"{self.model.config.vocab_size:,}. Put the tokenizer beside it that it was trained with."
            )
        self._memory: Memory | None = None
        if memory is not None:
            self._memory = recall(memory, self.model, self.tokenizer, settings or MemorySettings())
        self._published: Mapping[str, Any] = read_json(folder / "config.json")

    @torch.inference_mode()
    def say(self, text: str, max_tokens: int) -> Said:
        """What the head makes of a text.

        Raises:
            UserError: a masked model and no mask token in the text.
            ContextLengthError: a text longer than the model's context.

        """
        head = self.model.config.head
        kind = head.kind if head else "vector"
        if kind == "lm":
            return Said(kind=kind, text=self._generated(text, max_tokens))
        ids = self._encoded(text)
        hidden_TD = self.model(torch.tensor(ids), torch.arange(len(ids)), PackedAttend([len(ids)]))
        if kind == "masked":
            return Said(kind=kind, rows=self._filled(ids, hidden_TD))
        if head is None:
            vector_D = pool(hidden_TD, [len(ids)], self.model.config.pooling or "mean")[0]
            numbers = {str(at): float(number) for at, number in enumerate(vector_D[:TOP])}
            return Said(
                kind=kind, rows=((f"norm {float(vector_D.norm()):.3f}, width {len(vector_D)}", numbers),)
            )
        if head.pooling is None:
            names = [self.tokenizer.decode([token_id]) for token_id in ids]
            return Said(kind=kind, rows=tuple(zip(names, self._labels(hidden_TD), strict=True)))
        pooled_ND = pool(hidden_TD, [len(ids)], head.pooling)
        return Said(kind=kind, rows=(("the text", self._labels(pooled_ND)[0]),))

    def _generated(self, text: str, max_tokens: int) -> str:
        tokenizer, published = self.tokenizer, self._published
        ends = tokenizer.end_ids
        if self.model.config.encoder is None:
            ids = self._checked([*tokenizer.opening_ids, *tokenizer.encode(text)])
            if not ids:
                raise UserError("The text is empty; give some for the model to go on with.")
            return tokenizer.decode(
                list(generate(self.model, ids, max_tokens, end_ids=ends, memory=self._memory))
            )
        start = published.get("decoder_start_token_id", published.get("eos_token_id", 0))
        source = self._encoded(text)
        answer = generate(self.model, [start], max_tokens, source=source, end_ids=ends)
        return tokenizer.decode(list(answer))

    def _first(self) -> list[int]:
        special = self.tokenizer.special
        return [special[self.tokenizer.bos]] if self.tokenizer.bos else []

    def _encoded(self, text: str) -> list[int]:
        """Ids with the special tokens before and behind; mask tokens in the text are meant as such."""
        special = self.tokenizer.special
        mask = next((name for name in MASKS if name in special), None)
        parts = text.split(mask) if mask else [text]
        ids = [*self._first()]
        for number, part in enumerate(parts):
            ids += [special[mask]] if mask and number else []
            ids += self.tokenizer.encode(part)
        return self._checked([*ids, *([special[self.tokenizer.eos]] if self.tokenizer.eos else [])])

    def _checked(self, ids: list[int]) -> list[int]:
        limit = self.model.config.context
        if len(ids) > limit:
            raise ContextLengthError(f"The text has {len(ids):,} tokens; {limit:,} is the limit. Shorten it.")
        return ids

    def _filled(self, ids: list[int], hidden_TD: torch.Tensor) -> tuple[tuple[str, dict[str, float]], ...]:
        mask = next((name for name in MASKS if name in self.tokenizer.special), None)
        if mask is None or self.tokenizer.special[mask] not in ids:
            raise UserError(
                f"This model fills in masked words; write {mask or 'a mask token'} where one is missing."
            )
        at = [place for place, token_id in enumerate(ids) if token_id == self.tokenizer.special[mask]]
        best = self.model.logits(hidden_TD[at]).softmax(-1).topk(TOP)
        rows = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return tuple(
            (
                f"{mask} at token {place}",
                {self.tokenizer.decode([i]).strip(): p for p, i in zip(chances, indices, strict=True)},
            )
            for place, (chances, indices) in zip(at, rows, strict=True)
        )

    def _labels(self, hidden_ND: torch.Tensor) -> list[dict[str, float]]:
        scores_NC = self.model.logits(hidden_ND)
        if scores_NC.shape[1] > 1:  # a single score is no choice: a reward model's, or a number's
            scores_NC = scores_NC.softmax(-1)
        named = self._published.get("id2label", {})
        names = [named.get(str(number), f"LABEL_{number}") for number in range(scores_NC.shape[1])]
        return [dict(zip(names, chances, strict=True)) for chances in scores_NC.tolist()]
