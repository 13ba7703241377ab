"""In which order requests that wait are let in.

Higher priorities first; among equals the tenant that was served least, counted in tokens (virtual token counters,
arXiv:2401.00588, sec. 4); of one tenant the request of whose prompt the most is in the cache (longest shared prefix
first, arXiv:2312.07104, sec. 3), then the oldest. A request that was passed over often enough is not passed over by
longer prefixes any more.
"""

from collections.abc import Callable, Iterator

from mainspring.infer.request import Sequence

MAX_PASSED = 64


class Waiting:
    """The queue and the tenants' accounts."""

    def __init__(self) -> None:
        self._sequences: list[Sequence] = []
        self._served: dict[str, float] = {}
        self._first_in_need: Sequence | None = None

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._sequences)

    def add(self, sequence: Sequence, active: Iterator[Sequence]) -> None:
        """Queue a request; a tenant that comes back starts level with those who are `active`, not with credit."""
        tenant = sequence.request.tenant
        others = {each.request.tenant for each in (*self._sequences, *active)}
        if tenant not in others:
            least = min((self._served.get(each, 0.0) for each in others), default=0.0)
            self._served = {each: self._served.get(each, 0.0) for each in others} | {
                tenant: max(self._served.get(tenant, 0.0), least)
            }
        self._sequences.append(sequence)

    def put_back(self, sequence: Sequence) -> None:
        """A request that was let in before; its place among its equals is by its age."""
        self._sequences.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        self._sequences.remove(sequence)
        if sequence is self._first_in_need:
            self._first_in_need = None

    def served(self, sequence: Sequence, num_tokens: int) -> None:
        tenant = sequence.request.tenant
        self._served[tenant] = self._served.get(tenant, 0.0) + num_tokens

    def need(self, sequence: Sequence) -> None:
        """Say that this one lacked room: it comes next among its priority, lest small ones starve a large one."""
        self._first_in_need = sequence

    def order(self, num_found: Callable[[Sequence], int]) -> list[Sequence]:
        """All that wait, the next first; `num_found` says how many blocks of a prompt are there already."""

        def rank(sequence: Sequence) -> tuple[float, bool, float, bool, int, float]:
            is_old = sequence.num_passed >= MAX_PASSED
            return (
                -sequence.request.priority,
                sequence is not self._first_in_need,
                self._served.get(sequence.request.tenant, 0.0),
                not is_old,
                0 if is_old else -num_found(sequence),
                sequence.arrived,
            )

        return sorted(self._sequences, key=rank)
