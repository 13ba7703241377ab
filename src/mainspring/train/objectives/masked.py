"""Tokens that are hidden and must be said: masked language modelling, and diffusion over masks.

Papers: arXiv:1810.04805, section 3.1 (15 % of the tokens; of these 80 % hidden, 10 % another token, 10 % as they
are); arXiv:2502.09992, eq. 3 (a share t of the tokens, drawn anew for every text, each weighing 1/t).
"""

import random
from dataclasses import replace
from typing import Literal, Self

from pydantic import Field

from mainspring.errors import ConfigError
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.batch import NO_TARGET, Batch, Segment
from mainspring.train.objectives.base import Loss
from mainspring.train.objectives.sft import CrossEntropy
from mainspring.train.outputs import Outputs

MASKS = ("[MASK]", "<mask>", "<|mask|>", "<|mdm_mask|>")


class _Hidden(CrossEntropy):
    """What both share: which id hides a token, and which ids are never hidden."""

    mask_id: int = Field(default=-1, description="the id that hides a token; -1: the tokenizer's mask token")
    kept_ids: tuple[int, ...] = Field(
        default=(), description="ids that are never hidden; empty: special ones"
    )

    def fitted(self, tokenizer: Tokenizer) -> Self:
        """With the ids of a tokenizer.

        Raises:
            ConfigError: it has no token that hides others.

        """
        found = next((tokenizer.special[mask] for mask in MASKS if mask in tokenizer.special), -1)
        mask_id = found if self.mask_id < 0 else self.mask_id
        if mask_id < 0:
            raise ConfigError(
                f"The tokenizer has none of the mask tokens {', '.join(MASKS)}. Set `objective.mask_id` to an id that "
                "no text has."
            )
        kept = self.kept_ids or tuple(tokenizer.special.values())
        return self.model_copy(update={"mask_id": mask_id, "kept_ids": kept})

    def _candidates(self, segment: Segment) -> list[int]:
        kept = set(self.kept_ids)
        return [at for at, token in enumerate(segment.ids) if token not in kept and segment.weight[at]]


class MaskedLm(_Hidden):
    """Say the hidden tokens, looking at both sides; the model sees all of a text and has a `masked` head."""

    kind: Literal["mlm"] = "mlm"
    fraction: float = Field(default=0.15, gt=0, lt=1, description="part of the tokens that is to be said")
    hidden: float = Field(default=0.8, ge=0, le=1, description="part of these that is hidden")
    replaced: float = Field(default=0.1, ge=0, le=1, description="part of these that becomes another token")
    vocab_size: int = Field(
        default=0, ge=0, description="ids that another token is drawn from; 0: the tokenizer's"
    )

    def fitted(self, tokenizer: Tokenizer) -> Self:
        """With the ids of a tokenizer, and how many there are."""
        size = self.vocab_size or tokenizer.vocab_size
        return super().fitted(tokenizer).model_copy(update={"vocab_size": size})

    def view(self, segment: Segment, draw: random.Random) -> Segment:
        """Hide tokens, at least one."""
        candidates = self._candidates(segment)
        chosen = draw.sample(candidates, min(len(candidates), max(1, round(self.fraction * len(candidates)))))
        ids = list(segment.ids)
        for at in chosen:
            chance = draw.random()
            if chance < self.hidden:
                ids[at] = self.mask_id
            elif chance < self.hidden + self.replaced:
                ids[at] = draw.randrange(self.vocab_size)
        return _said_at(segment, ids, dict.fromkeys(chosen, 1.0))


class MaskedDiffusion(_Hidden):
    """A language model that fills masks in any order: -sum of log p / t over hidden tokens, counted in all ids."""

    kind: Literal["masked_diffusion"] = "masked_diffusion"
    min_fraction: float = Field(default=0.01, gt=0, lt=1, description="smallest share t of hidden tokens")

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        loss = super().__call__(outputs, batch)
        return Loss(sum=loss.sum, count_key="ids", metrics={})

    def view(self, segment: Segment, draw: random.Random) -> Segment:
        """Hide each token with the text's own probability t."""
        share = self.min_fraction + (1 - self.min_fraction) * draw.random()
        chosen = [at for at in self._candidates(segment) if draw.random() < share]
        ids = list(segment.ids)
        for at in chosen:
            ids[at] = self.mask_id
        return _said_at(segment, ids, dict.fromkeys(chosen, 1 / share))


def _said_at(segment: Segment, ids: list[int], weights: dict[int, float]) -> Segment:
    """The segment with other ids, where what stood there is said again."""
    targets = [token if at in weights else NO_TARGET for at, token in enumerate(segment.ids)]
    return replace(segment, ids=ids, targets=targets, weight=[weights.get(at, 0.0) for at in range(len(ids))])
