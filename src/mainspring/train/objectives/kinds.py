"""The kinds of objectives that a recipe may name."""

from typing import Annotated

from pydantic import Field

from mainspring.train.objectives.classify import Classification
from mainspring.train.objectives.contrastive import Contrastive, Rerank
from mainspring.train.objectives.masked import MaskedDiffusion, MaskedLm
from mainspring.train.objectives.sft import CausalLm, Sft, TokenLabels
from mainspring.train.objectives.spans import SpanCorruption

ObjectiveKind = Annotated[
    CausalLm
    | Sft
    | TokenLabels
    | MaskedLm
    | MaskedDiffusion
    | SpanCorruption
    | Classification
    | Contrastive
    | Rerank,
    Field(discriminator="kind"),
]
