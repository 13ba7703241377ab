"""How much each weight matters for what a model has learnt: the diagonal of the Fisher information, kept in a file.

Papers: arXiv:1612.00796, section 2.1; arXiv:1905.12558, section 3 (labels that the model draws, or those of the data).

    anchor.safetensors    fisher/<name>, weight/<name>: of every weight that trains, fp32

Shapes: N trained tokens of a segment, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file

from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.batch import Batch, pack
from mainspring.train.outputs import Outputs, run_model
from mainspring.train.sources.base import Source, order

FISHER, WEIGHT = "fisher/", "weight/"


class FisherConfig(Config):
    """How the information is estimated."""

    items: int = Field(
        default=128, ge=1, description="of the source, drawn by the seed; each takes a gradient"
    )
    labels: Literal["drawn", "given"] = Field(
        default="drawn",
        description="by the model, which the definition asks for, or those of the data (empirical)",
    )
    seed: int = Field(default=0, description="of the items and of the labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where a model stood, and how much each of its weights mattered there; by name."""

    fisher: Mapping[str, torch.Tensor]
    weights: Mapping[str, torch.Tensor]

    def save(self, path: Path) -> None:
        """Write both to a safetensors file."""
        tensors = {FISHER + name: each for name, each in self.fisher.items()}
        tensors |= {WEIGHT + name: each for name, each in self.weights.items()}
        save_file({name: each.float().contiguous() for name, each in tensors.items()}, path)


def load_anchor(path: Path) -> Anchor:
    """Read what `Anchor.save` wrote.

    Raises:
        ConfigError: no such file, or another one.

    """
    try:
        tensors = load_file(path)
    except Exception as error:
        raise ConfigError(f"{path} is no file of weights and their Fisher information: {error}") from error
    fisher = {name.removeprefix(FISHER): each for name, each in tensors.items() if name.startswith(FISHER)}
    if not fisher or any(WEIGHT + name not in tensors for name in fisher):
        raise ConfigError(
            f"{path} does not hold weights and their Fisher information. Give a file that `estimate` made."
        )
    return Anchor(fisher=fisher, weights={name: tensors[WEIGHT + name] for name in fisher})


def estimate(model: Model, source: Source, config: FisherConfig) -> Anchor:
    """Mean over segments of the squared gradient of log p(segment's trained tokens), for all weights that train.

    Raises:
        ConfigError: nothing trains.

    """
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    if not parameters:
        raise ConfigError("No weight of the model trains, so none has Fisher information. Unfreeze some.")
    generator = torch.Generator().manual_seed(config.seed)
    fisher = {name: torch.zeros_like(each) for name, each in parameters.items()}
    count = 0
    for index in order(source.num_items, config.seed, 0)[: config.items]:
        for segment in source.item(index):
            (batch,) = pack([(segment,)], max(1, segment.num_tokens + len(segment.source)))
            logp = _logp(run_model(model, batch), batch, generator if config.labels == "drawn" else None)
            gradients = torch.autograd.grad(logp, list(parameters.values()), allow_unused=True)
            count += 1
            for total, gradient in zip(fisher.values(), gradients, strict=True):
                if gradient is not None:
                    total.add_(gradient.square())
    return Anchor(
        fisher={name: each / count for name, each in fisher.items()},
        weights={name: each.detach().clone() for name, each in parameters.items()},
    )


def _logp(outputs: Outputs, batch: Batch, generator: torch.Generator | None) -> torch.Tensor:
    """Of what stands there or, with a generator, of tokens that the model draws in their places."""
    weight_N = batch.weight[batch.trained()]
    if generator is None:
        return (outputs.trained_logp_N * weight_N).sum()
    logp_NV = outputs.trained_logits_NV.log_softmax(-1)
    drawn_N1 = logp_NV.detach().exp().multinomial(1, generator=generator)
    return (logp_NV.gather(1, drawn_N1).squeeze(1) * weight_N).sum()
