"""What keeps the rows of a product apart on a machine, as kernels.py has found it; read without torch."""

from mainspring.artifact import fingerprint_of
from mainspring.config import Config


class KernelPlan(Config):
    """Row counts are padded to a multiple of `multiple`; a step has at most `limit` rows.

    Attention multiplies the query heads of one key-value head together, so it has that many times more rows.
    """

    mode: str = "exact"
    multiple: int
    limit: int
    machine: str
    torch: str
    threads: int

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.model_dump())

    @property
    def is_fixed(self) -> bool:
        """Whether every product must have the very same number of rows."""
        return self.multiple == self.limit

    def pad(self, num_rows: int) -> int:
        """The number of rows to compute for `num_rows`."""
        return -(-num_rows // self.multiple) * self.multiple
