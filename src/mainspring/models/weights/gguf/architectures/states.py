"""What architectures with states instead of attention share. Not an architecture itself."""

import torch

from mainspring.errors import WeightsError
from mainspring.models.weights.gguf.architectures.base import Undo
from mainspring.models.weights.gguf.metadata import Metadata


def logarithm(said: Metadata, decay: torch.Tensor) -> torch.Tensor:
    """A decay is stored as the negative number that it is, published as a logarithm; back within one rounding.

    Raises:
        WeightsError: a number that is not negative, which no logarithm gives.

    """
    if decay.device.type != "meta" and not bool((decay < 0).all()):
        raise WeightsError(
            f"{said.file.path} has decays of states that are not negative. Fetch the model again."
        )
    return torch.log(-decay)


def logarithm_a_head(said: Metadata, decay: torch.Tensor) -> torch.Tensor:
    return logarithm(said, decay).squeeze(-1)


def convolution(_: Metadata, weight: torch.Tensor) -> torch.Tensor:
    """(channels, tokens) -> (channels, 1, tokens)."""
    return weight.unsqueeze(1)


CONVOLUTION: dict[str, Undo] = {"ssm_conv1d.weight": convolution}
RENAMED = ((".dt_bias", ".dt_proj.bias"),)
