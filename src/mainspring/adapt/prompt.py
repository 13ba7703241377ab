"""Prompt tuning: learnt vectors in front of every segment's embeddings.

Paper: arXiv:2104.08691, section 2: the model reads [P; X], and P alone is trained. As in peft the text's
positions begin behind them, and where a family scales its embeddings (Gemma) they count as scaled. The rows are put in behind the embedding and taken out of the hidden states again,
so that whoever runs the model sees the text's tokens alone.

Shapes: T tokens, P virtual tokens, S tokens of text and virtual ones together, D model width.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from mainspring.adapt import base
from mainspring.adapt.virtual import check_model, check_pass
from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.models.attend import Attend, PackedAttend
from mainspring.models.model import Model
from mainspring.models.parts.front import Blocks


class PromptConfig(Config):
    """How many vectors, and what they are at the start.

    >>> PromptConfig(num_tokens=4, ids=(17, 5)).ids
    (17, 5)
    """

    kind: Literal["prompt"] = Field(default="prompt", description="learnt vectors before the embedded text")
    num_tokens: int = Field(default=16, ge=1, description="virtual tokens in front of every segment")
    ids: tuple[int, ...] = Field(
        default=(),
        description="token ids whose embeddings the vectors are at the start, repeated or cut to their number; "
        "none: random vectors, as widely spread as the embedding's",
    )

    def apply(self, model: Model, *, seed: int, name: str = "default") -> None:
        """Put the vectors in front of everything that the model reads."""
        part = Prompt(model, self)
        with torch.no_grad():
            part.rows_PD.copy_(self._start(model.embedding.weight, seed) * part.scale)
        base.add(model, self, name, {"front": part})

    def _start(self, embedding_VD: torch.Tensor, seed: int) -> torch.Tensor:
        if not self.ids:
            shape = (self.num_tokens, embedding_VD.shape[1])
            drawn_PD = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
            return drawn_PD.to(embedding_VD) * embedding_VD.std()
        if not all(0 <= each < len(embedding_VD) for each in self.ids):
            raise ConfigError(
                f"`ids` holds {max(self.ids)} as the largest and {min(self.ids)} as the smallest id; this model "
                f"has ids from 0 to {len(embedding_VD) - 1}."
            )
        return embedding_VD[[self.ids[place % len(self.ids)] for place in range(self.num_tokens)]]


class Prompt(nn.Module):
    """The vectors P."""

    def __init__(self, model: Model, config: PromptConfig) -> None:
        super().__init__()
        check_model(model, "prompt tuning")
        self.context, self.scale = model.config.context, model.config.embedding_scale
        self.rows_PD = nn.Parameter(torch.zeros_like(model.embedding.weight[:1]).repeat(config.num_tokens, 1))

    def forward(
        self, front: nn.Module, x_TD: torch.Tensor, pos_T: torch.Tensor, attend: Attend, blocks: Blocks
    ) -> torch.Tensor:
        num_virtual = len(self.rows_PD)
        around = check_pass(attend, num_virtual, self.context)
        pos_T = pos_T + num_virtual
        if isinstance(around, PackedAttend):
            lengths = around.lengths
            around = PackedAttend([length + num_virtual if length else 0 for length in lengths])
        elif around.num_tokens * around.num_segments > len(x_TD):
            return front(x_TD, pos_T, around, blocks)  # the vectors lie in the cache since the first pass
        else:
            lengths = [around.num_tokens] * around.num_segments
        order_S = _order(lengths, len(x_TD), num_virtual)
        rows_PD = (self.rows_PD / self.scale).to(x_TD.dtype)  # the blocks scale all rows
        x_SD = torch.cat([rows_PD, x_TD]).index_select(0, order_S)
        pos_S = torch.cat([torch.arange(num_virtual), pos_T]).index_select(0, order_S)
        hidden_SD = front(x_SD, pos_S, around, blocks)
        return hidden_SD.index_select(0, (order_S >= num_virtual).nonzero().squeeze(1))


def _order(lengths: list[int], num_tokens: int, num_virtual: int) -> torch.Tensor:
    """Rows of [P; X] as the model is to read them; what stands behind the last segment stays behind it."""
    order: list[torch.Tensor] = []
    start = num_virtual
    for length in filter(None, lengths):
        order += [torch.arange(num_virtual), torch.arange(start, start + length)]
        start += length
    return torch.cat([*order, torch.arange(start, num_virtual + num_tokens)])
