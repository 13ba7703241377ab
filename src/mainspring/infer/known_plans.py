"""The kernel plans that a workspace has kept of its models."""

from mainspring import device
from mainspring.artifact import Artifact
from mainspring.config import build
from mainspring.infer.kernel_plan import KernelPlan, Products
from mainspring.registry import Registry


def find(registry: Registry, artifact: Artifact, products: Products) -> KernelPlan | None:
    """The newest plan of a model for this machine, torch, number of threads and way to multiply."""
    import torch

    here = (device.describe(), torch.__version__, torch.get_num_threads(), products)
    for reference in reversed(registry.list("kernel-plan")):
        stored = registry.get(reference)
        plan = build(KernelPlan, stored.config)
        is_of_model = stored.parents.get("model") == artifact.reference
        if is_of_model and (plan.machine, plan.torch, plan.threads, plan.products) == here:
            return plan
    return None
