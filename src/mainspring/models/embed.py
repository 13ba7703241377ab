"""Texts to unit vectors, without padding: texts of like length are packed flat, each attends to itself.

Shapes: T tokens of one pack, N texts in it, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from mainspring.errors import WeightsError
from mainspring.models.attend import PackedAttend
from mainspring.models.load import load, read_json
from mainspring.models.model import Model
from mainspring.models.pool import pool
from mainspring.tokenizer.base import Tokenizer

TOKENS_A_PACK = 4096
TEXTS_A_WINDOW = 4096  # texts whose ids are held at once, and among which like lengths are brought together


class TextEmbedder:
    """An encoder such as MiniLM; satisfies protocols.Embedder.

    Texts beyond `max_tokens` ids, both special ones counted, are cut off there; `count_tokens` tells which.
    """

    def __init__(
        self, model: Model, tokenizer: Tokenizer, *, name: str, fingerprint: str, max_tokens: int
    ) -> None:
        if model.config.pooling is None or not (tokenizer.bos and tokenizer.eos):
            raise WeightsError(
                f"'{name}' does not embed text: its family is {model.config.family}, its pooling "
                f"{model.config.pooling}, its first and last token '{tokenizer.bos}' and '{tokenizer.eos}'. "
                "Use an encoder such as minilm."
            )
        self.name, self.fingerprint = name, fingerprint
        self.width = model.config.width
        self.max_tokens = min(max_tokens, model.config.context)
        self._model, self._tokenizer = model, tokenizer
        self._first, self._last = tokenizer.special[tokenizer.bos], tokenizer.special[tokenizer.eos]

    @classmethod
    def load(cls, folder: Path, *, name: str, fingerprint: str) -> "TextEmbedder":
        """Read an artifact's folder; its fingerprint is that of the artifact."""
        limits = folder / "sentence_bert_config.json"
        model, tokenizer = load(folder), Tokenizer.load(folder)
        max_tokens = read_json(limits).get("max_seq_length") if limits.exists() else tokenizer.max_length
        return cls(
            model,
            tokenizer,
            name=name,
            fingerprint=fingerprint,
            max_tokens=max_tokens or model.config.context,
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many ids each whole text would be, the two special ones counted."""
        return [len(ids) + 2 for ids in self._tokenizer.encode_many(texts)]

    def embed(self, texts: Sequence[str], *, advance: Callable[[int], None] | None = None) -> np.ndarray:
        """Unit vectors, float32, shape (len(texts), width); `advance(n)` is called as texts are done."""
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        for begin in range(0, len(texts), TEXTS_A_WINDOW):
            window = self._tokenizer.encode_many(texts[begin : begin + TEXTS_A_WINDOW])
            rows = [[self._first, *ids[: self.max_tokens - 2], self._last] for ids in window]
            for pack in packs([len(row) for row in rows]):
                vectors[[begin + index for index in pack]] = self._embed_pack([rows[i] for i in pack])
                if advance is not None:
                    advance(len(pack))
        return vectors

    @torch.inference_mode()
    def _embed_pack(self, rows: list[list[int]]) -> np.ndarray:
        lengths = [len(row) for row in rows]
        length_N = torch.tensor(lengths)
        start_N = length_N.cumsum(0) - length_N
        ids_T = torch.tensor([token_id for row in rows for token_id in row])
        pos_T = torch.arange(len(ids_T)) - start_N.repeat_interleave(length_N)
        hidden_TD = self._model(ids_T, pos_T, PackedAttend(lengths))
        vector_ND = pool(hidden_TD, lengths, self._model.config.pooling or "mean")
        return torch.nn.functional.normalize(vector_ND, dim=1).numpy()


def packs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of texts, longest first, as many a pack as the token budget allows and one at least."""
    pack: list[int] = []
    num_tokens = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if pack and num_tokens + lengths[index] > TOKENS_A_PACK:
            yield pack
            pack, num_tokens = [], 0
        pack.append(index)
        num_tokens += lengths[index]
    if pack:
        yield pack
