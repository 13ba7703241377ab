"""How the processes of a run share its work: each all of the model, or a part of it."""

from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.parallel.base import Runner
from mainspring.train.plan import Plan
from mainspring.train.ranks import Ranks, find_ranks

__all__ = ["Runner", "open_runner", "ranks_of"]


def ranks_of(plan: Plan) -> Ranks:
    """This process in the grid that a plan asks for."""
    if plan.tensor > 1:
        return find_ranks(plan.tensor)
    return find_ranks(plan.pipeline, counted=plan.pipeline - 1)


def open_runner(model: Model, plan: Plan) -> Runner:
    """Who runs a model as its plan says; with fsdp, tensor or pipeline it holds a part of the model.

    Raises:
        ConfigError: parts that do not go together, or that the model cannot be cut into.

    """
    parts = [
        f"plan.{name}={value}"
        for name, value, none in (
            ("parallel", plan.parallel, "ddp"),
            ("tensor", plan.tensor, 1),
            ("pipeline", plan.pipeline, 1),
        )
        if value != none
    ]
    if len(parts) > 1:
        raise ConfigError(
            f"{' and '.join(parts)} cut the model in several ways at once. Choose one of them; the processes that it "
            "does not take share the items of a step."
        )
    if parts and plan.dtype == "fp16":
        raise ConfigError(
            f"{parts[0]} does not go with plan.dtype=fp16: its scaler would have to see the gradients of all "
            "processes. Take bf16."
        )
    ranks = ranks_of(plan)
    if plan.parallel == "fsdp" and ranks.world_size > 1:
        from mainspring.train.parallel.fsdp import FsdpRunner

        return FsdpRunner(model, plan, ranks)
    if plan.tensor > 1:
        from mainspring.train.parallel.tensor import TensorRunner

        return TensorRunner(model, plan, ranks)
    if plan.pipeline > 1:
        from mainspring.train.parallel.pipeline import PipelineRunner

        return PipelineRunner(model, plan, ranks)
    return Runner(model, plan, ranks)
