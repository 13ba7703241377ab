"""What a training run can be told."""

from pydantic import Field

from mainspring.config import Config
from mainspring.train.guard import GuardConfig, StopConfig
from mainspring.train.optim import AdamW, OptimConfig
from mainspring.train.plan import Plan


class TrainConfig(Config):
    """A run over a source."""

    epochs: int = Field(default=1, ge=1, description="passes over the source")
    steps: int = Field(
        default=0,
        ge=0,
        description="how often items are taken, over as many passes as it takes; 0: `epochs` says it. Each time is "
        "one update or, with rollouts, `rollout.updates` updates from the same answers",
    )
    items_per_step: int = Field(
        default=8,
        ge=1,
        description="items (documents, conversations, pairs, prompts) of one update, of all ranks",
    )
    max_trained_tokens: int = Field(
        default=0,
        ge=0,
        description="the run ends before the token weights of the items used add up to more; 0: no limit. Packed "
        "rows, prompts and texts that are learnt as a whole have none",
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="part of the embedding's numbers, and of those that attention and feed-forward parts add, that is "
        "left out at random while learning: for data that are seen many times",
    )
    seed: int = Field(default=0, description="of the order of items and of every random number drawn")
    report_every_steps: int = Field(default=1, ge=1, description="steps between two lines of progress")
    save_every_steps: int = Field(default=10, ge=1, description="steps between two saved states")
    save_in_background: bool = Field(
        default=True,
        description="write states while the run goes on, which takes memory for a copy of what trains and of what the "
        "optimizer keeps",
    )
    keep_last: int = Field(default=2, ge=1, description="how many of the last saved states stay")
    keep_every_steps: int = Field(
        default=0, ge=0, description="states whose step divides by it stay for good; 0: none"
    )
    validate_every_steps: int = Field(
        default=0, ge=0, description="steps between two looks at the validation items; 0: only at the end"
    )
    restore_best: bool = Field(
        default=False, description="end with the weights of the lowest validation loss instead of the last"
    )
    guard: GuardConfig = Field(default=GuardConfig(), description="which steps are skipped")
    stop: StopConfig = Field(default=StopConfig(), description="when a validated run stops early")
    optim: OptimConfig = Field(default=AdamW(), description="how weights follow gradients")
    plan: Plan = Field(default=Plan(), description="how the run computes")
