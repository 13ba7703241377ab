"""What a vocabulary is worth to a model: small models, one a tokenizer, learn the same bytes in the same order.

    text -> pieces of so many bytes -> ids by each tokenizer, behind one end token -> a model each, as many steps
    bits a byte = -log2 p(all held-out ids) / their bytes

A loss a token cannot compare vocabularies, for their tokens are not the same; bits a byte can, where no tokenizer
loses text. The bodies are alike; a larger vocabulary has more rows of embedding, which are counted.
"""

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.config import Config, build
from mainspring.errors import ConfigError
from mainspring.models.init import fresh
from mainspring.models.load import understand
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.batch import Item, Segment
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import CausalLm
from mainspring.train.teacher import answer_nll

HEAD = 32  # numbers of an attention head


class VocabularyLoss(Config):
    """How the small models are made and trained."""

    steps: int = Field(default=200, ge=1, description="updates of each model")
    pieces_per_step: int = Field(default=16, ge=1, description="pieces of text that an update learns from")
    piece_bytes: int = Field(default=512, ge=16, description="UTF-8 bytes of a piece at most")
    held_out_pieces: int = Field(default=200, ge=1, description="pieces that the loss is taken of, at most")
    width: int = Field(default=128, ge=32, multiple_of=32, description="of the models")
    layers: int = Field(default=4, ge=1, description="of the models")
    lr: float = Field(default=2e-3, gt=0, description="highest learning rate")
    seed: int = Field(default=0, description="of weights and order")
    threads: int = Field(default=0, ge=0, description="processor threads; 0 takes every core")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What a model with one vocabulary lost on held-out text. `is_lossless`: its ids say all of the text."""

    bits_per_byte: float
    parameters: int
    is_lossless: bool
    seconds: float


def lose(
    tokenizer: Tokenizer, learnt: Sequence[str], held_out: Sequence[str], config: VocabularyLoss
) -> Lost:
    """Train a small model on texts in this vocabulary, and take its loss on others.

    Raises:
        ConfigError: no text to learn from or to hold out, or a tokenizer without an end token.

    """
    began = time.monotonic()
    source = Pieces(tokenizer, list(_pieces(learnt, config.piece_bytes)))
    held = Pieces(tokenizer, list(_pieces(held_out, config.piece_bytes))[: config.held_out_pieces])
    longest = max(each.num_tokens for pieces in (source, held) for each in pieces.segments)
    heads = config.width // HEAD
    shape = {
        "model_type": "llama", "vocab_size": tokenizer.vocab_size, "hidden_size": config.width,
        "intermediate_size": 3 * config.width, "num_hidden_layers": config.layers, "num_attention_heads": heads,
        "num_key_value_heads": heads, "max_position_embeddings": longest, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": True,
    }  # fmt: skip
    model = fresh(understand(shape, Path("`tokenizer compare`")), config.seed)
    settings = build(TrainConfig, {
        "steps": config.steps, "items_per_step": config.pieces_per_step, "seed": config.seed,
        "report_every_steps": config.steps, "save_every_steps": config.steps,
        "optim": {"lr": config.lr, "weight_decay": 0.1, "beta2": 0.95},
        "plan": {"micro_batch_tokens": max(4096, longest), "threads": config.threads},
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        train(model, source, CausalLm(), settings, Path(folder))
    means = answer_nll(model, held.segments)
    nats = sum(mean * each.trained_tokens for mean, each in zip(means, held.segments, strict=True))
    return Lost(
        bits_per_byte=nats / math.log(2) / held.num_bytes, is_lossless=held.is_lossless,
        parameters=sum(each.numel() for each in model.parameters()), seconds=time.monotonic() - began,
    )  # fmt: skip


class Pieces:
    """Pieces of text as items: all ids of one are trained, behind an end token that is not."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        if not texts or not tokenizer.end_ids:
            raise ConfigError(
                "A loss needs texts to learn from, others to hold out, and a token that ends a text. Give more "
                "documents, or a tokenizer with `eos`."
            )
        ids = tokenizer.encode_many(list(texts))
        first = min(tokenizer.end_ids)
        self.segments = [
            Segment(ids=[first, *each], weight=[0.0, *([1.0] * len(each))], name=f"piece {number}")
            for number, each in enumerate(ids)
            if each
        ]
        self.num_items, self.num_bytes = len(self.segments), sum(len(text.encode()) for text in texts)
        self.is_lossless = all(tokenizer.decode(each) == text for each, text in zip(ids, texts, strict=True))
        self.fingerprint = fingerprint_of([list(each.ids) for each in self.segments])

    def item(self, index: int) -> Item:
        return (self.segments[index],)


def _pieces(texts: Sequence[str], max_bytes: int) -> Iterator[str]:
    """All of the texts, cut between characters so that no piece has more bytes."""
    for text in texts:
        raw, start = text.encode(), 0
        while start < len(raw):
            end = min(start + max_bytes, len(raw))
            while end < len(raw) and raw[end] & 0xC0 == 0x80:  # within a character
                end -= 1
            yield raw[start:end].decode()
            start = end
