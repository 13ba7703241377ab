"""What a training run can be told."""

from pydantic import Field

from mainspring.config import Config
from mainspring.train.optim import AdamW, OptimConfig
from mainspring.train.plan import Plan


class TrainConfig(Config):
    """A run over a source."""

    epochs: int = Field(default=1, ge=1, description="passes over the source")
    segments_per_step: int = Field(default=8, ge=1, description="segments that one update learns from")
    max_trained_tokens: int = Field(
        default=20_000, ge=1, description="the run ends before the weights it has used add up to more"
    )
    seed: int = Field(default=0, description="of the order of segments and of every random number drawn")
    report_every_steps: int = Field(default=1, ge=1, description="steps between two lines of progress")
    save_every_steps: int = Field(default=10, ge=1, description="steps between two saved states")
    optim: OptimConfig = Field(default=AdamW(), description="how weights follow gradients")
    plan: Plan = Field(default=Plan(), description="how the run computes")
