"""The weights of a model that has learnt nothing.

Matrices and embeddings are normal with a standard deviation of 0.02; those that write into the residual stream are
smaller by the root of how many do, so that its size does not grow with the depth (GPT-2, section 2.3). Norms and
what state-space mixers set for themselves stay as they were made.
"""

import math

import torch
from torch import nn

from mainspring.models.config import ModelConfig
from mainspring.models.model import Model
from mainspring.models.parts.positions import Learned

STD = 0.02
INTO_RESIDUAL = ("o", "down", "out")


def fresh(config: ModelConfig, seed: int) -> Model:
    """A model with the same random weights for the same seed, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Model(config)
    generator = torch.Generator().manual_seed(seed)
    smaller = STD / math.sqrt(2 * max(1, config.num_layers))
    with torch.no_grad():
        for path, module in model.named_modules():
            if isinstance(module, nn.Embedding | Learned):
                module.weight.normal_(std=STD, generator=generator)
            elif isinstance(module, nn.Linear):
                is_last = path.startswith("blocks.") and path.rpartition(".")[2] in INTO_RESIDUAL
                module.weight.normal_(std=smaller if is_last else STD, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
    return model.eval()
