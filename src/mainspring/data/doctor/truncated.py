"""Answers that are cut: a model that learns from them stops in the middle of a sentence, or never.

prompt | answer | end token | template    whole
prompt | answ                             the ids end within the answer: cut when the dataset was made
prompt | answer, longer than the context  cut when a row is filled
"""

from collections import Counter
from collections.abc import Iterator

from mainspring.data.doctor.answers import answer_ends, is_conversation
from mainspring.data.doctor.base import Fault, Tally
from mainspring.data.doctor.view import View, messages_of, place_of
from mainspring.data.pack import cut
from mainspring.data.shards import ShardSegment

ENDINGS = tuple(".!?:;)]}\"'`*…”’»」|>\n\u3002\uff01\uff1f")
MIN_CHARACTERS, MIN_ALIKE, MIN_SHARE = 64, 3, 0.01
ADVICE = "Raise the limit at which answers were cut, or leave these documents out."
LONGER = "Leave them out or shorten them, or take a model with a longer context."


class Truncated:
    """An answer without its end token at the very end of a segment, or one that a context cuts.

    In documents it is told by meta["finish_reason"] "length", or by several texts that are all exactly as
    long as the longest and end without punctuation.
    """

    name = "truncated_answer"

    def __call__(self, view: View) -> Iterator[Fault]:
        limit = (view.pupil.tokenizer.max_length or 0) if view.pupil else 0
        at_end, in_rows = Tally(self.name, view.unit), Tally(self.name, view.unit)
        for split, index, segment in view.each_segment():
            if view.end_ids and is_conversation(segment):
                place = place_of(index, segment)
                at_end.see(split, place, is_faulty=_ends_within(segment, view.end_ids))
                in_rows.see(split, place, is_faulty=_is_cut(segment, view.end_ids, limit))
        yield from at_end.faults("the ids end within an answer", ADVICE)
        yield from in_rows.faults(f"the model's context of {limit:,} ids ends within an answer", LONGER)
        told = Tally(self.name, view.unit)
        for split, document in view.each_document():
            told.see(split, document.id, is_faulty=document.meta.get("finish_reason") == "length")
        yield from told.faults("its generation was cut at a limit (finish_reason)", ADVICE)
        yield from self._at_one_length(view)

    def _at_one_length(self, view: View) -> Iterator[Fault]:
        lengths: dict[str, Counter[int]] = {}
        for split, text in _learnt(view):
            lengths.setdefault(split, Counter())[len(text)] += 1
        longest = {split: max(counts) for split, counts in lengths.items()}
        suspects = {split for split, length in longest.items() if lengths[split][length] >= MIN_ALIKE}
        open_ended = Counter(
            split
            for split, text in _learnt(view)
            if split in suspects and len(text) == longest[split] and not text.endswith(ENDINGS)
        )
        for split, count in open_ended.items():
            length, total = longest[split], lengths[split].total()
            if length >= MIN_CHARACTERS and count >= max(MIN_ALIKE, MIN_SHARE * total):
                yield Fault(
                    check=self.name, where=f"{split}: the longest texts",
                    what=f"they are all exactly {length:,} characters long and end without punctuation",
                    numbers={"documents": count, "of": total}, advice=ADVICE,
                )  # fmt: skip


def _learnt(view: View) -> Iterator[tuple[str, str]]:
    """(split, text) of what a model would learn to say: the last answer, or the text."""
    for split, document in view.each_document():
        messages = messages_of(document)
        yield split, messages[-1].content if messages else document.text


def _ends_within(segment: ShardSegment, end_ids: frozenset[int]) -> bool:
    return bool(segment.weight[-1]) and int(segment.ids[-1]) not in end_ids


def _is_cut(segment: ShardSegment, end_ids: frozenset[int], limit: int) -> bool:
    """Whether a row of so many ids ends within an answer."""
    if not limit or len(segment.ids) <= limit:
        return False
    ends = {int(place) for place in answer_ends(segment)}
    pieces = cut(len(segment.ids), limit)[:-1]
    lasts = [start + length - 1 for start, length in pieces]
    return any(
        segment.weight[last] and last not in ends and int(segment.ids[last]) not in end_ids for last in lasts
    )
