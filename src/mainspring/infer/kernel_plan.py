"""What keeps the rows of a product apart on a machine, as kernels.py has found it; read without torch."""

from typing import Literal

from mainspring.artifact import fingerprint_of
from mainspring.config import Config

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
