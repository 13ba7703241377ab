"""Prompt tuning: learnt vectors in front of every segment's embeddings.

Paper: arXiv:2104.08691, section 2: the model reads [P; X], and P alone is trained. As in peft the text's positions
begin behind them, and where a family scales its embeddings (Gemma) they count as scaled. They are put in behind the
embedding and taken out of the hidden states again, so that whoever runs the model sees the text's tokens alone.

Shapes: T tokens, P virtual tokens, S tokens of text and virtual ones together, D model width.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from mainspring.adapt import base as adapters
from mainspring.adapt.base import Adapter
from mainspring.adapt.virtual import FRONT, check_model, check_pass
from mainspring.errors import ConfigError
from mainspring.models.attend import Attend, PackedAttend
from mainspring.models.config import ModelConfig
from mainspring.models.model import Model
from mainspring.models.parts.front import Blocks


class Prompt(Adapter):
    """Learnt vectors before every text.

    >>> Prompt(num_virtual=4, init_ids=(17, 5)).init_ids
    (17, 5)
    """

    kind: Literal["prompt"] = "prompt"
    num_virtual: int = Field(default=20, ge=1, description="vectors before every text")
    init_ids: tuple[int, ...] = Field(
        default=(),
        description="ids whose embeddings they begin as, repeated or cut to their number; "
        "none: those of ids drawn at random",
    )

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Begin with embeddings of ids, or with those of ids drawn at random."""
        assert isinstance(model, Model)
        check_model(model, "prompt")
        table_VD = model.embedding.weight.detach()
        drawn = torch.randint(
            len(table_VD), (self.num_virtual,), generator=torch.Generator().manual_seed(seed)
        )
        ids = self.init_ids or tuple(drawn.tolist())
        if not all(0 <= each < len(table_VD) for each in ids):
            raise ConfigError(
                f"`init_ids` has ids from {min(ids)} to {max(ids)}; this model knows those from 0 to "
                f"{len(table_VD) - 1}. Take them from its own tokenizer."
            )
        chosen_PD = table_VD[[ids[at % len(ids)] for at in range(self.num_virtual)]]
        adapters.put_on(model, self, name, {FRONT: Vectors(chosen_PD, model.config)})


class Vectors(nn.Module):
    """P of them, before each segment of what the model reads."""

    def __init__(self, embedded_PD: torch.Tensor, config: ModelConfig) -> None:
        super().__init__()
        self.context, self.scale = config.context, config.embedding_scale
        self.vector_PD = nn.Parameter(embedded_PD * self.scale)

    def forward(
        self, front: nn.Module, x_TD: torch.Tensor, pos_T: torch.Tensor, attend: Attend, blocks: Blocks
    ) -> torch.Tensor:
        num_virtual = len(self.vector_PD)
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
        vector_PD = (self.vector_PD / self.scale).to(x_TD.dtype)  # the blocks scale all rows
        x_SD = torch.cat([vector_PD, x_TD]).index_select(0, order_S)
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
