"""Texts and answers without their end token: a model that learns from them never stops."""

from collections.abc import Iterator

from mainspring.data.doctor.answers import answer_ends, is_conversation
from mainspring.data.doctor.base import Fault, Tally
from mainspring.data.doctor.view import View, place_of
from mainspring.data.shards import ShardSegment

ADVICE = (
    "Make the shards again with `mainspring data shard`: set `end`, or use a template that ends every answer."
)


class MissingEnd:
    """A text whose last id is no end token, or an answer with template text behind it instead of one."""

    name = "missing_end_token"

    def __call__(self, view: View) -> Iterator[Fault]:
        tally = Tally(self.name, view.unit)
        if view.tokenizer is None:
            return
        for split, index, segment in view.each_segment():
            tally.see(split, place_of(index, segment), is_faulty=_is_missing(segment, view.end_ids))
        yield from tally.faults("no end token stands behind it", ADVICE)


def _is_missing(segment: ShardSegment, end_ids: frozenset[int]) -> bool:
    if not is_conversation(segment):
        return int(segment.ids[-1]) not in end_ids
    last = len(segment.ids) - 1  # an answer that ends there is truncated
    return any(int(segment.ids[place]) not in end_ids for place in answer_ends(segment) if place != last)
