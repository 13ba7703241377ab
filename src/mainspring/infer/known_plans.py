"""The kernel plans of a workspace's models: those that were kept, or new ones."""

from typing import TYPE_CHECKING

from mainspring import device
from mainspring.artifact import Artifact
from mainspring.config import build
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import EngineConfig
from mainspring.progress import say
from mainspring.registry import Registry

if TYPE_CHECKING:  # these bring torch, which a server whose engine is another process does without
    from mainspring.models.model import Model


def make(model: "Model", settings: EngineConfig | None) -> KernelPlan:
    """A new probe's."""
    from mainspring.infer.kernels import probe

    say("kernel plan: measuring which products are exact and fast here, once for a model and a machine")
    return probe(model, device.describe(), (settings or EngineConfig()).products)


def find(registry: Registry, artifact: Artifact, settings: EngineConfig | None) -> KernelPlan | None:
    """The newest plan of a model for this machine, torch, number of threads and way to multiply."""
    import torch

    products = (settings or EngineConfig()).products
    here = (device.describe(), torch.__version__, torch.get_num_threads(), products)
    for reference in reversed(registry.list("kernel-plan")):
        stored = registry.get(reference)
        plan = build(KernelPlan, stored.config)
        is_of_model = stored.parents.get("model") == artifact.reference
        if is_of_model and (plan.machine, plan.torch, plan.threads, plan.products) == here:
            return plan
    return None
