"""How weights follow gradients: AdamW, its learning rate by step, and the norm that is let through.

Papers: arXiv:1711.05101 (AdamW), arXiv:1608.03983 (cosine).
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from mainspring.config import Config


class OptimConfig(Config):
    """AdamW and its schedule."""

    lr: float = Field(default=2e-4, gt=0, description="highest learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="how the learning rate falls after the warm-up"
    )
    warmup_fraction: float = Field(
        default=0.05, ge=0, lt=1, description="part of the steps over which the rate rises"
    )
    min_lr_fraction: float = Field(
        default=0.0, ge=0, le=1, description="part of lr at which the schedule ends"
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="memory of the gradients' mean")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="memory of the gradients' square")
    eps: float = Field(default=1e-8, gt=0, description="added to the divisor")
    weight_decay: float = Field(
        default=0.0, ge=0, description="pull of matrices towards zero; vectors have none"
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="longer gradients are scaled down to this norm"
    )


def build_optimizer(parameters: Mapping[str, nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over matrices (decayed) and vectors (not decayed), fused where torch has that for the device."""
    matrices = [parameter for parameter in parameters.values() if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters.values() if parameter.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters.values())
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=fused,
    )  # fmt: skip


def lr_at(step: int, num_steps: int, config: OptimConfig) -> float:
    """Learning rate of a step, counted from 0."""
    num_warmup = math.ceil(config.warmup_fraction * num_steps)
    if step < num_warmup:
        return config.lr * (step + 1) / num_warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - num_warmup) / max(1, num_steps - num_warmup)
    left = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.lr * (config.min_lr_fraction + (1 - config.min_lr_fraction) * left)


def clip(parameters: Mapping[str, nn.Parameter], max_norm: float) -> float:
    """Scale gradients down to `max_norm` and return the norm they had; an infinite one scales nothing."""
    gradients = [parameter.grad for parameter in parameters.values() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if torch.isfinite(norm):
        nn.utils.clip_grads_with_norm_(list(parameters.values()), max_norm, norm)
    return float(norm)
