"""A value head: what reward a model expects after the tokens so far, one number a token (PPO).

It lies beside the model as `value_head`, trains with it, and is in no file that the model is published in. It begins
at zero: nothing is expected.

Shapes: T tokens of a batch, N of them trained, D model width.
"""

import torch
from torch import nn

from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.outputs import Outputs, full

NAME = "value_head"


def add_value_head(model: Model) -> None:
    """Put one on, if there is none, and let it train."""
    if not hasattr(model, NAME):
        like = model.embedding.weight
        head = nn.Linear(model.config.width, 1, dtype=like.dtype, device=like.device)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        model.add_module(NAME, head)
    model.get_submodule(NAME).requires_grad_(True)


def values(outputs: Outputs) -> torch.Tensor:
    """What is expected before each trained token is said, 0 elsewhere: (T,).

    Raises:
        ConfigError: the model has no value head.

    """
    if not hasattr(outputs.model, NAME):
        raise ConfigError(
            "The model has no value head. Train it with an objective that puts one on, such as a policy gradient with "
            "`value_coefficient` above 0."
        )
    hidden_ND = outputs.hidden_TD.index_select(0, outputs.batch.trained())
    return outputs.spread(full(outputs.model.get_submodule(NAME)(hidden_ND)).squeeze(1))
