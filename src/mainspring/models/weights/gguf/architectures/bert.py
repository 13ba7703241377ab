"""BERT and RoBERTa, as encoders of text; their tokenizers tell them apart.

RoBERTa counts positions from two; the rows before them are not stored, and no text reads them.
"""

from typing import Any

import torch

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import closing
from mainspring.models.weights.gguf.metadata import Metadata

OFFSET = 2
POOLINGS = {1: "mean", 2: "cls", 3: "last"}


def is_roberta(said: Metadata) -> bool:
    return said.file.fields.get("tokenizer.ggml.model") != "bert"


def positions(said: Metadata, rows: torch.Tensor) -> torch.Tensor:
    unread = torch.zeros(OFFSET if is_roberta(said) else 0, rows.shape[1], device=rows.device)
    return torch.cat([unread, rows])


LAYOUT = Layout(undo={"position_embd.weight": positions})


def config(said: Metadata) -> dict[str, Any]:
    kind, offset = ("Roberta", OFFSET) if is_roberta(said) else ("Bert", 0)
    said.expect("attention.causal", False)
    return {
        "architectures": [f"{kind}Model"],
        "model_type": kind.lower(),
        "vocab_size": said.rows("token_embd.weight"),
        "hidden_size": said.whole("embedding_length"),
        "intermediate_size": said.whole("feed_forward_length"),
        "num_hidden_layers": said.num_blocks,
        "num_attention_heads": said.whole("attention.head_count"),
        "hidden_act": "gelu",
        "max_position_embeddings": said.whole("context_length") + offset,
        "type_vocab_size": said.rows("token_types.weight"),
        "layer_norm_eps": said.number("attention.layer_norm_epsilon"),
        "position_embedding_type": "absolute",
        **pooling(said),
        **closing(said),
        "pad_token_id": said.token_id("padding", max(offset - 1, 0)),
    }


def pooling(said: Metadata) -> dict[str, str]:
    """How a text's vector is made, where the file tells it."""
    kind = said.get("pooling_type", 0)
    if kind and kind not in POOLINGS:
        raise said.wrong("pooling_type", kind, f"read are {', '.join(map(str, POOLINGS))}")
    return {"pooling": POOLINGS[kind]} if kind else {}
