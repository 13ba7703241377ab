"""What keeps the rows of a product apart on a machine, as kernels.py has found it; read without torch."""

from typing import Literal

from mainspring import device
from mainspring.artifact import Artifact, fingerprint_of
from mainspring.config import Config, build
from mainspring.registry import Registry

Products = Literal["measured", "plain", "packed"]


class KernelPlan(Config):
    """Row counts are padded to a multiple of `multiple`; a step has at most `limit` rows.

    Attention multiplies the query heads of one key-value head together, so it has that many times more rows.
    `packed` are the shapes (outputs x inputs) of weights that are packed, and `products` what was asked for.
    """

    mode: str = "exact"
    multiple: int
    limit: int
    machine: str
    torch: str
    threads: int
    products: Products = "plain"
    packed: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.model_dump())

    @property
    def is_fixed(self) -> bool:
        """Whether every product must have the very same number of rows."""
        return self.multiple == self.limit

    def describe(self) -> str:
        """In a line."""
        packed = ", ".join(self.packed) or "none"
        return f"up to {self.limit} rows in multiples of {self.multiple}; packed weights: {packed}"

    def pad(self, num_rows: int) -> int:
        """The number of rows to compute for `num_rows`."""
        return -(-num_rows // self.multiple) * self.multiple


def find_plan(registry: Registry, artifact: Artifact, products: Products) -> KernelPlan | None:
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
