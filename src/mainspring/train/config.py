"""What a training run can be told."""

from pydantic import Field

from mainspring.config import Config
from mainspring.train.optim import OptimConfig
from mainspring.train.plan import Plan


class TrainConfig(Config):
    """A run over a source."""

    epochs: int = Field(default=1, ge=1, description="passes over the source")
    steps: int = Field(
        default=0, ge=0, description="updates in all, over as many passes as they take; 0: `epochs` says it"
    )
    items_per_step: int = Field(
        default=8,
        ge=1,
        description="items (documents, conversations, pairs, prompts) of one update, of all ranks",
    )
    max_trained_tokens: int = Field(
        default=0, ge=0, description="the run ends before the weights used add up to more; 0: no limit"
    )
    seed: int = Field(default=0, description="of the order of items and of every random number drawn")
    report_every_steps: int = Field(default=1, ge=1, description="steps between two lines of progress")
    save_every_steps: int = Field(default=10, ge=1, description="steps between two saved states")
    validate_every_steps: int = Field(
        default=0, ge=0, description="steps between two looks at the validation items; 0: only at the end"
    )
    optim: OptimConfig = Field(default=OptimConfig(), description="how weights follow gradients")
    plan: Plan = Field(default=Plan(), description="how the run computes")
