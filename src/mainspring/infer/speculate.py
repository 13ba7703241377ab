"""Guesses at the next ids, which one step of the model checks together.

A draft's id is taken while it equals what is chosen for its place. The choice is a function of the scores, the seed
and the position, so speculation changes no id and no distribution, whoever guesses: it only changes the time.
"""

from collections.abc import Sequence


class NGram:
    """Prompt lookup for one sequence: what followed the last time that the sequence ended as it ends now.

    Longer endings are looked for first (apoorvumang/prompt-lookup-decoding; LLMA, arXiv:2304.04487). The places of
    all endings are kept in tables that grow with the sequence, so a guess takes the time of its own length.
    """

    SIZES = (3, 2)

    def __init__(self) -> None:
        self._after: dict[tuple[int, ...], int] = {}
        self._num_known = 0

    def propose(self, ids: Sequence[int], limit: int) -> list[int]:
        self._learn(ids)
        for size in self.SIZES:
            if (start := self._after.get(tuple(ids[-size:]))) is not None:
                # A guess that reaches the end goes on with itself: a repetition repeats.
                period = len(ids) - start
                return [ids[start + index % period] for index in range(limit)]
        return []

    def _learn(self, ids: Sequence[int]) -> None:
        """Note what follows every ending that has something behind it; later places win."""
        for end in range(max(self._num_known, 1), len(ids)):
            for size in self.SIZES:
                if end >= size:
                    self._after[tuple(ids[end - size : end])] = end
        self._num_known = max(self._num_known, len(ids))


class Pace:
    """How many ids to guess: more while guesses hold, none for a while where they do not pay.

    Checking an id costs a share of a step (measured by the engine; 1 would be a step of its own), an accepted one
    saves a step. The rate of acceptance is a running mean; where no length gains a factor of `worth`, one short draft
    in `RETRY` steps looks whether that has changed, and with `patience` after ever more steps. None looks where even
    guesses that all held would gain too little.
    """

    MAX = 16
    RETRY = 32
    SLOWNESS = 0.8
    BEST = 0.99

    def __init__(self, worth: float = 1.05, patience: int = 1) -> None:
        self._rate, self._worth, self._patience = 0.7, worth, patience
        self._idle, self._wait = 0, self.RETRY

    def limit(self, cost: float = 0.1) -> int:
        """The length of the next draft where checking an id costs `cost` of a step; 0 for none."""
        best = self._best(cost, min(self._rate, self.BEST))
        if best > 0:
            self._wait = self.RETRY
            return best
        self._idle += 1
        if self._idle < self._wait or not self._best(cost, self.BEST):
            return 0
        self._idle, self._wait = 0, self._wait * self._patience
        return 2

    def note(self, proposed: int, accepted: int) -> None:
        """Learn from a draft: every accepted id held, and the one behind them did not."""
        for index in range(min(accepted + 1, proposed)):
            held = float(index < accepted)
            self._rate = self.SLOWNESS * self._rate + (1 - self.SLOWNESS) * held

    def _best(self, cost: float, rate: float) -> int:
        """The length n with most ids in the time of a step, 0 where that gains too little.

        There are (1 - r^(n+1)) / (1 - r) ids for 1 + n * cost (arXiv:2211.17192, eq. 1).
        """
        gains = [(1 - rate ** (n + 1)) / (1 - rate) / (1 + n * cost) for n in range(self.MAX + 1)]
        best = max(gains)
        return gains.index(best) if best > self._worth else 0
