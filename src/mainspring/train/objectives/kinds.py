"""The kinds of objectives, and of what is added to them, that a recipe may name."""

from typing import Annotated

from pydantic import Field

from mainspring.train.objectives.anchors import Kl, ZLoss
from mainspring.train.objectives.classify import Classification
from mainspring.train.objectives.contrastive import Contrastive, Rerank
from mainspring.train.objectives.distill import Distill
from mainspring.train.objectives.ewc import Ewc
from mainspring.train.objectives.experts import MoeBalance, MoeBias
from mainspring.train.objectives.kto import Kto
from mainspring.train.objectives.masked import MaskedDiffusion, MaskedLm
from mainspring.train.objectives.policy import PolicyGradient
from mainspring.train.objectives.preference import Preference
from mainspring.train.objectives.reward import Reward
from mainspring.train.objectives.sft import CausalLm, Sft, TokenLabels
from mainspring.train.objectives.spans import SpanCorruption

Tokens = CausalLm | Sft | TokenLabels | MaskedLm | MaskedDiffusion | SpanCorruption | Distill
Texts = Classification | Contrastive | Rerank
Answers = Preference | Kto | Reward | PolicyGradient
ObjectiveKind = Annotated[Tokens | Texts | Answers, Field(discriminator="kind")]
PenaltyKind = Annotated[Kl | ZLoss | Ewc | MoeBalance | MoeBias, Field(discriminator="kind")]
