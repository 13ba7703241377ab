"""What the engine guesses the next ids of a sequence to be.

What a grammar leaves no choice about comes first; else what followed the same words before, as long as it pays.
"""

from mainspring.infer.request import Sequence


def propose(sequence: Sequence, limit: int, row_cost: float) -> list[int]:
    """At most `limit` ids; `row_cost` is what checking one costs, see Tempo."""
    if sequence.grammar is not None and (forced := sequence.grammar.forced()):
        return forced[: max(limit, 0)]
    limit = min(limit, sequence.pace.limit(row_cost))
    return sequence.ngram.propose(sequence.ids, limit) if limit > 0 else []
