"""Segments in which nothing is trained: they cost as much as others and teach nothing."""

from collections.abc import Iterator

from mainspring.data.doctor.base import Fault, Tally
from mainspring.data.doctor.view import View, messages_of, place_of

ADVICE = (
    "See the weights with `mainspring data peek --tokens`. Answers must have the role 'assistant' and a text; "
    "segments must be longer than one id."
)


class AllZeroMask:
    """A segment whose weights are 0 behind its first id, which is never learnt; a conversation without an answer."""

    name = "all_zero_mask"

    def __call__(self, view: View) -> Iterator[Fault]:
        tally = Tally(self.name, view.unit)
        for split, index, segment in view.each_segment():
            tally.see(split, place_of(index, segment), is_faulty=not segment.weight[1:].any())
        for split, document in view.each_document():
            if "messages" in document.meta:
                answers = [each.content for each in messages_of(document) if each.role == "assistant"]
                tally.see(split, document.id, is_faulty=not any(answer.strip() for answer in answers))
        yield from tally.faults("nothing is trained in it", ADVICE)
