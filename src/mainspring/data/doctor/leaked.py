"""Evaluation text in training data: whoever learns it is not measured by it any more."""

from collections import Counter
from collections.abc import Iterator

from mainspring.data.contaminate import Settings
from mainspring.data.doctor.base import Fault, Tally
from mainspring.data.doctor.view import HELD_OUT, View
from mainspring.data.leaks import Leaks

ADVICE = "Build the dataset again with `decontaminate` (and `evaluation_files`): it drops what is shared."


class LeakedEvaluation:
    """A training text that shares a run of words with an evaluation text, as `data build` measures it."""

    name = "leaked_evaluation_text"

    def __call__(self, view: View) -> Iterator[Fault]:
        if not view.evaluation:
            return
        usual = Settings()
        leaks = Leaks(view.evaluation, usual.ngram, usual.min_words)
        tally, sets = Tally(self.name, view.unit), Counter[str]()
        for split, place, text in view.each_text():
            if split not in HELD_OUT:
                overlaps = leaks.overlaps(text)
                tally.see(split, place, is_faulty=bool(overlaps))
                sets.update({each.name.partition("#")[0] for each in overlaps})
        told = ", ".join(f"{name} ({count:,})" for name, count in sets.most_common(3))
        yield from tally.faults(f"it repeats text of {told}", ADVICE)
