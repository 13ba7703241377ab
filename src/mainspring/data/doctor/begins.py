"""Two begin tokens: a template and an encoder each put one, and the model serves with one."""

from collections.abc import Iterator

from mainspring.data.doctor.base import Fault, Tally
from mainspring.data.doctor.view import View, messages_of, place_of
from mainspring.data.document import Document

WRITTEN = (
    "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<bos>", "[CLS]", "<s>[INST]",
    "<s> [INST]", "<s><s>",
)  # fmt: skip
ADVICE = "Leave `begin` empty where the template puts a begin token, and make the shards again."
TEXT_ADVICE = (
    "Take the token out of the text: encoding adds it, and writes the one in the text as plain characters."
)


class DoubledBegin:
    """A segment whose first two ids are the same special token; a document that has one as its first text."""

    name = "doubled_begin_token"

    def __call__(self, view: View) -> Iterator[Fault]:
        special = frozenset(view.tokenizer.special.values()) if view.tokenizer else frozenset[int]()
        tally = Tally(self.name, view.unit)
        for split, index, segment in view.each_segment():
            first = [int(each) for each in segment.ids[:2]]
            is_faulty = len(first) == 2 and first[0] == first[1] and first[0] in special
            tally.see(split, place_of(index, segment), is_faulty=is_faulty)
        yield from tally.faults("the same special token stands twice at its beginning", ADVICE)
        names = (
            *WRITTEN,
            *(() if view.pupil is None or not view.pupil.tokenizer.bos else (view.pupil.tokenizer.bos,)),
        )
        written = Tally(self.name, view.unit)
        for split, document in view.each_document():
            is_faulty = any(text.lstrip().startswith(names) for text in _begins(document))
            written.see(split, document.id, is_faulty=is_faulty)
        yield from written.faults("its text begins with a begin token", TEXT_ADVICE)


def _begins(document: Document) -> list[str]:
    return [document.text, *(message.content for message in messages_of(document))]
