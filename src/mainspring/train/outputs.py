"""What a model said of a batch; scores are computed where they are asked for, once, and nowhere else.

Shapes: T tokens of a batch, N of them trained, M tokens of the encoder's stream, D model width, V vocabulary.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch.nn.functional import cross_entropy

from mainspring.models.attend import PackedAttend
from mainspring.models.model import Model
from mainspring.models.parts.half import is_half
from mainspring.models.parts.moe import Routed, watched
from mainspring.train.batch import Batch
from mainspring.train.linear_nll import linear_nll, plain_head


class Outputs:
    """Hidden states of a batch and what follows from them."""

    def __init__(self, model: Model, batch: Batch, hidden_TD: torch.Tensor) -> None:
        self.model, self.batch, self.hidden_TD = model, batch, hidden_TD
        self.routed: Sequence[Routed] = ()

    def logits(self, at_N: torch.Tensor) -> torch.Tensor:
        """The head's scores of the tokens at these indices, (N, V) or (N, C), at least in fp32."""
        return full(self.model.logits(self.hidden_TD.index_select(0, at_N)))

    @cached_property
    def trained_logits_NV(self) -> torch.Tensor:
        """Scores of the trained tokens, in the order of `batch.trained()`."""
        return self.logits(self.batch.trained())

    @property
    def trained_logp_N(self) -> torch.Tensor:
        """Log p(target) of the trained tokens."""
        return self._judged[0]

    @property
    def is_best_N(self) -> torch.Tensor:
        """Whether the model finds nothing likelier than the target, at the trained tokens."""
        return self._judged[1]

    @cached_property
    def _judged(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Both at once, without the scores themselves where nobody has asked for them."""
        at_N = self.batch.trained()
        target_N = self.batch.target[at_N]
        weight_VD = plain_head(self.model) if is_half(self.hidden_TD) else None
        if weight_VD is not None and "trained_logits_NV" not in vars(self):
            hidden_ND = self.hidden_TD.index_select(0, at_N).to(torch.bfloat16)
            nll_N, is_best_N = linear_nll(hidden_ND, weight_VD, target_N)
            return -nll_N, is_best_N
        scores_NV = self.trained_logits_NV
        said_N = scores_NV.detach().gather(1, target_N.unsqueeze(1)).squeeze(1)
        is_best_N = said_N >= scores_NV.detach().amax(-1)
        return -cross_entropy(scores_NV, target_N, reduction="none"), is_best_N

    @cached_property
    def entropy_N(self) -> torch.Tensor:
        """Entropy of what the model would say at the trained tokens, in nats."""
        logp_NV = self.trained_logits_NV.log_softmax(-1)
        return -(logp_NV.exp() * logp_NV).sum(-1)

    @cached_property
    def logp_T(self) -> torch.Tensor:
        """Log p(target) of every token, 0 where nothing is trained."""
        return self.spread(self.trained_logp_N)

    def spread(self, x_N: torch.Tensor) -> torch.Tensor:
        """Numbers of the trained tokens at their places among all, 0 elsewhere: (T,)."""
        return x_N.new_zeros(len(self.batch.ids)).index_copy(0, self.batch.trained(), x_N)


def run_model(model: Model, batch: Batch, *, watches_routers: bool = False) -> Outputs:
    """Run the model over a batch, each segment for itself; keep what its routers say, if that is watched."""
    if watches_routers:
        with watched(model) as said:
            outputs = run_model(model, batch)
        outputs.routed = said
        return outputs
    if not batch.source_lengths:
        return Outputs(model, batch, model(batch.ids, batch.pos, PackedAttend(batch.lengths)))
    source_SD = model.encode(batch.source_ids, batch.source_pos, PackedAttend(batch.source_lengths))
    attend = PackedAttend(batch.lengths, batch.source_lengths)
    return Outputs(model, batch, model(batch.ids, batch.pos, attend, source_SD))


def full(x: torch.Tensor) -> torch.Tensor:
    """At least fp32: sums over a vocabulary are not made in half precision."""
    return x if x.dtype == torch.float64 else x.float()
