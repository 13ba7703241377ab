"""How well texts answer a query: a cross-encoder reads both in one text, and its head scores it.

Paper: arXiv:1901.04085, section 2.2. Texts of like length are packed flat, each pair attends to itself.

Shapes: T tokens of one pack, N pairs in it, D width.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mainspring.errors import ContextLengthError, WeightsError
from mainspring.models.attend import PackedAttend
from mainspring.models.config import Pooling
from mainspring.models.embed import packs
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.pool import pool
from mainspring.tokenizer.base import Tokenizer

TWO_BETWEEN = ("roberta", "longformer")  # families whose published models have two last tokens between texts


class TextReranker:
    """A cross-encoder; satisfies protocols.Reranker.

    Args:
        model: with a head of one score for a text.
        tokenizer: the model's own.
        name: what it is called.
        is_published: pairs are written as published models learnt them, with BERT's token types and RoBERTa's two
            last tokens between the texts; models that were trained here know neither.

    A text beyond what fits behind the query is cut off there.

    """

    def __init__(self, model: Model, tokenizer: Tokenizer, *, name: str, is_published: bool = True) -> None:
        head = model.config.head
        if model.config.task != "rerank" or head is None or not tokenizer.eos:
            raise WeightsError(
                f"'{name}' does not score texts: its head is {head.kind if head else 'missing'} with "
                f"{head.num_labels if head else 0} labels, its last token '{tokenizer.eos}'. Use a cross-encoder."
            )
        self.name = name
        self._model, self._tokenizer = model, tokenizer
        self._pooling: Pooling = head.pooling or "cls"
        self._first = [tokenizer.special[tokenizer.bos]] if tokenizer.bos else []
        self._last = [tokenizer.special[tokenizer.eos]]
        self._between = self._last * (2 if is_published and model.config.family in TWO_BETWEEN else 1)
        self._has_types = is_published and model.config.num_token_types > 1
        self._max_tokens = min(tokenizer.max_length or model.config.context, model.config.context)

    @classmethod
    def load(cls, folder: Path, *, name: str, facts: Mapping[str, Any]) -> "TextReranker":
        """Read an artifact's folder; its `facts` say whether it was trained here."""
        is_published = "objective" not in facts
        return cls(load(folder), Tokenizer.load(folder), name=name, is_published=is_published)

    def scores(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """One score a text, float32, between 0 and 1: the sigmoid of what the head says.

        Raises:
            ContextLengthError: a query that leaves no room for a text.

        """
        head = [*self._first, *self._tokenizer.encode(query), *self._between]
        room = self._max_tokens - len(head) - len(self._last)
        if room < 1:
            raise ContextLengthError(
                f"The query is {len(head)} ids; of the {self._max_tokens} that the model takes some must be left "
                "for a text. Shorten it."
            )
        rows = [[*head, *ids[:room], *self._last] for ids in self._tokenizer.encode_many(texts)]
        scores = np.zeros(len(texts), dtype=np.float32)
        for pack in packs([len(row) for row in rows]):
            scores[pack] = self._score_pack([rows[index] for index in pack], len(head))
        return scores

    @torch.inference_mode()
    def _score_pack(self, rows: list[list[int]], num_query: int) -> np.ndarray:
        lengths = [len(row) for row in rows]
        pos_T = torch.cat([torch.arange(length) for length in lengths])
        ids_T = torch.tensor([token_id for row in rows for token_id in row])
        types_T = (pos_T >= num_query).long() if self._has_types else None
        hidden_TD = self._model(ids_T, pos_T, PackedAttend(lengths), types_T=types_T)
        return self._model.logits(pool(hidden_TD, lengths, self._pooling)).squeeze(1).sigmoid().numpy()
