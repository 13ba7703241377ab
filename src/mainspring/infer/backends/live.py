"""The model as it is at this moment: for whoever changes the weights between two steps.

A trainer samples with it from the very tensors that it trains. Nothing is copied, padded or probed; the adapter
that the model answers with stays active, whatever a request says. What a row comes to may differ in its last bits
with its neighbors. An engine keeps keys and values for later prompts, so changed weights want a new engine.
"""

import torch

from mainspring.adapt.virtual import check_served
from mainspring.infer.backends.torch_eager import TorchEager
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import EngineConfig
from mainspring.models.model import Model


class Live(TorchEager):
    """A backend in the fast mode over a model that somebody else owns."""

    name = "live"
    is_exact = False
    chunk = 16
    state_chunk = 1 << 30

    def __init__(self, model: Model, config: EngineConfig) -> None:
        check_served(model)
        plan = KernelPlan(
            mode="fast", multiple=1, limit=config.max_step_tokens, machine="any", torch=torch.__version__,
            threads=torch.get_num_threads(),
        )  # fmt: skip
        super().__init__(model, plan, config)

    def has_adapter(self, name: str) -> bool:
        return False  # the owner of the model chooses
