"""Documents without a text: they teach a model to end at once."""

from collections.abc import Iterator

from mainspring.data.doctor.base import Fault, Tally
from mainspring.data.doctor.view import View

INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff\x00"))
ADVICE = "Drop them: add the rule `length` to the recipe, or leave them out of the source."


class Empty:
    """Nothing but blanks and characters that nobody sees, in a document or between special tokens."""

    name = "empty_document"

    def __call__(self, view: View) -> Iterator[Fault]:
        tally = Tally(self.name, view.unit)
        for split, place, text in view.each_text():
            tally.see(split, place, is_faulty=not text.translate(INVISIBLE).strip())
        yield from tally.faults("there is no text in it", ADVICE)
