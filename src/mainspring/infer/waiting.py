"""In which order requests that wait are let in.

Higher priorities first; among equals the tenant that was served least, counted in tokens (virtual token counters,
arXiv:2401.00588, sec. 4); of one tenant the request of whose prompt the most is in the cache (longest shared prefix
first, arXiv:2312.07104, sec. 3), then the oldest. A request that was passed over often enough is not passed over by
longer prefixes any more.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable

from mainspring.infer.request import Sequence

MAX_PASSED = 64


class Waiting(list[Sequence]):
    """The requests that wait, in no order, and the tenants' accounts: how many tokens each was served.

    Those that were let in before are put back by `append`; their place among their equals is by their age.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_served: Counter[str] = Counter()
        self.first_in_need: Sequence | None = None
        """Lacked room: it comes next among its priority, lest small ones starve a large one."""

    def add(self, sequence: Sequence, active: Iterable[Sequence]) -> None:
        """Queue a request; a tenant that comes back starts level with those who are `active`, not with credit."""
        tenant = sequence.request.tenant
        others = {each.request.tenant: self.num_served[each.request.tenant] for each in (*self, *active)}
        if tenant not in others:
            start = max(self.num_served[tenant], min(others.values(), default=0))
            self.num_served = Counter({**others, tenant: start})
        self.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        super().remove(sequence)
        if sequence is self.first_in_need:
            self.first_in_need = None

    def order(self, num_found: Callable[[Sequence], int]) -> list[Sequence]:
        """All that wait, the next first; `num_found` says how many blocks of a prompt are there already."""

        def rank(sequence: Sequence) -> tuple[int, bool, int, float, float]:
            return (
                -sequence.request.priority,
                sequence is not self.first_in_need,
                self.num_served[sequence.request.tenant],
                -num_found(sequence) if sequence.num_passed < MAX_PASSED else -math.inf,
                sequence.arrived,
            )

        return sorted(self, key=rank)
