"""The class in transformers that a published folder is for, and its gradients by the names that files have."""

import json

import torch
import transformers

import oracle_lstm

EXPERTS = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
MIXTRAL_EXPERTS = {"gate": "w1", "up": "w3", "down": "w2"}


def class_of(folder):
    """What config.json names in `architectures`."""
    (name,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    return getattr(transformers, name, None) or getattr(oracle_lstm, name)


def more_inputs(theirs, ids):
    """What a class must be told beside the ids: that the first token of a segment is Longformer's global one."""
    if theirs.config.model_type != "longformer":
        return {}
    return {"global_attention_mask": (torch.arange(len(ids)) == 0).long()[None]}


def published_gradients(theirs):
    """Gradients by published name; experts that lie fused in memory are taken apart as they are in files."""
    is_mixtral = theirs.config.model_type == "mixtral"
    gradients = {}
    for name, parameter in theirs.named_parameters():
        published = name.replace(".mlp.", ".block_sparse_moe.") if is_mixtral else name
        place, _, fused = published.partition(".experts.")
        if not fused:
            gradients[published] = parameter.grad
            continue
        parts = {"gate_up_proj": ("gate", "up"), "down_proj": ("down",)}[fused]
        for expert, gradient in enumerate(parameter.grad):
            for part, piece in zip(parts, gradient.chunk(len(parts)), strict=True):
                called = (MIXTRAL_EXPERTS if is_mixtral else EXPERTS)[part]
                gradients[f"{place}.experts.{expert}.{called}.weight"] = piece
    return gradients
