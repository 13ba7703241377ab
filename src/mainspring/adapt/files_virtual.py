"""Prefixes and prompts as peft writes them: one tensor `prompt_embeddings` with a row for every virtual token.

A prefix's row holds keys and values of every layer, in that order; a net that made it is folded into it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mainspring.adapt.prefix import Prefix, PrefixConfig
from mainspring.adapt.prompt import Prompt, PromptConfig
from mainspring.config import Config, build
from mainspring.errors import WeightsError
from mainspring.models.model import Model

PREFIX_TYPE, PROMPT_TYPE = "PREFIX_TUNING", "PROMPT_TUNING"
TENSOR = "prompt_embeddings"
FRONT = "front"  # the path of the part


def write(
    model: Model, config: Config, parts: Mapping[str, nn.Module]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What stands in adapter_config.json, and the tensor."""
    part = parts[FRONT]
    if isinstance(part, Prefix):
        num_layers, _, num_heads, head_size = part.shape
        rows = part.table()
        values = {
            "token_dim": num_heads * head_size, "num_attention_heads": num_heads,
            "encoder_hidden_size": None, "prefix_projection": False,
        }  # fmt: skip
    else:
        assert isinstance(part, Prompt)
        num_layers, rows = model.config.num_layers, part.rows_PD
        values = {"token_dim": model.config.width, "prompt_tuning_init": "RANDOM"}
    return {
        **values,
        "num_virtual_tokens": len(rows), "num_layers": num_layers, "num_transformer_submodules": 1,
    }, {TENSOR: rows.detach()}  # fmt: skip


def read_prefix(
    model: Model, values: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], folder: Path
) -> tuple[PrefixConfig, dict[str, nn.Module]]:
    """Settings and table of a saved prefix."""
    rows_PX = _rows(values, tensors, folder)
    config = build(PrefixConfig, {"num_tokens": len(rows_PX)})
    part = Prefix(model, config, None)
    _copy(part.table(), rows_PX, folder)
    return config, {FRONT: part}


def read_prompt(
    model: Model, values: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], folder: Path
) -> tuple[PromptConfig, dict[str, nn.Module]]:
    """Settings and vectors of a saved prompt."""
    rows_PD = _rows(values, tensors, folder)
    config = build(PromptConfig, {"num_tokens": len(rows_PD)})
    part = Prompt(model, config)
    _copy(part.rows_PD, rows_PD, folder)
    return config, {FRONT: part}


def _rows(values: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], folder: Path) -> torch.Tensor:
    if values.get("num_transformer_submodules", 1) != 1:
        raise WeightsError(
            f"The adapter in {folder} is one of an encoder and a decoder. Give one of a decoder."
        )
    rows = tensors.get(TENSOR)
    if len(tensors) != 1 or rows is None or rows.ndim != 2 or len(rows) != values.get("num_virtual_tokens"):
        shapes = {name: tuple(each.shape) for name, each in tensors.items()}
        raise WeightsError(
            f"The adapter in {folder} has the tensors {shapes}; expected is {TENSOR} alone, with "
            f"{values.get('num_virtual_tokens')} rows. Save it again with peft or Mainspring."
        )
    return rows


def _copy(own: torch.Tensor, rows: torch.Tensor, folder: Path) -> None:
    if own.shape != rows.shape:
        raise WeightsError(
            f"The adapter in {folder} has {rows.shape[1]} numbers for every virtual token, this model takes "
            f"{own.shape[1]}. Load it onto the model it was trained on."
        )
    with torch.no_grad():
        own.copy_(rows)
