"""How weights follow gradients: one file a kind of optimizer, the schedule of its learning rate, the clipping."""

from typing import Annotated

import torch
from pydantic import Field

from mainspring.train.optim.adagrad import Adagrad
from mainspring.train.optim.adam import Adam
from mainspring.train.optim.adamw import AdamW
from mainspring.train.optim.base import Parameters, clip, restore_state, set_lr, state_of
from mainspring.train.optim.muon import Muon
from mainspring.train.optim.rmsprop import RmsProp
from mainspring.train.optim.schedule import lr_at
from mainspring.train.optim.sgd import Sgd

OptimConfig = Annotated[AdamW | Adam | Sgd | RmsProp | Adagrad | Muon, Field(discriminator="kind")]

__all__ = [
    "Adagrad", "Adam", "AdamW", "Muon", "OptimConfig", "RmsProp", "Sgd", "build_optimizer", "clip", "lr_at",
    "restore_state", "set_lr", "state_of",
]  # fmt: skip


def build_optimizer(parameters: Parameters, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimizer of these weights by name, fused where torch has that for the device."""
    return config.build(parameters)
