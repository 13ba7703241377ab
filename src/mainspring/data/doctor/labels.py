"""Labels and ids that a model has no place for: they end a run hours later, or train what nobody asks for."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from mainspring.data.doctor.allowed import Allowed
from mainspring.data.doctor.base import Fault, Tally
from mainspring.data.doctor.view import View, place_of

ADVICE = "Correct the labels, or say which ones there are with --labels 0:4 or --labels no,yes."
ID_ADVICE = "Make the shards again with the tokenizer of the model, or take a model with a wider vocabulary."


class LabelRange:
    """A document's meta["label"] that is not allowed, or of another kind than most; an id too high.

    Allowed is what was asked for, what the dataset declares (`labels` of its config), or 0 to the number of
    labels of the model. Without any of them, only mixed kinds are found.
    """

    name = "label_outside_range"

    def __call__(self, view: View) -> Iterator[Fault]:
        yield from self._labels(view)
        yield from self._ids(view)

    def _labels(self, view: View) -> Iterator[Fault]:
        allowed = view.allowed
        if allowed is None and view.pupil is not None and view.pupil.num_labels:
            allowed = Allowed(low=0, high=view.pupil.num_labels - 1)
        kinds = Counter(_kind(document.meta["label"]) for _, document in _labelled(view))
        usual = max(kinds, key=lambda kind: kinds[kind], default="")
        tally = Tally(self.name, view.unit)
        for split, document in _labelled(view):
            label = document.meta["label"]
            is_good = allowed.allows(label) if allowed else _kind(label) == usual
            tally.see(split, f"{document.id} ({label!r})", is_faulty=not is_good)
        expected = f"{allowed}" if allowed else f"a {usual}, as most are"
        yield from tally.faults(f"its label is not among {expected}", ADVICE)

    def _ids(self, view: View) -> Iterator[Fault]:
        tally = Tally(self.name, view.unit)
        known = [shards.manifest.vocab_size for shards in view.shards.values()]
        known += [view.pupil.vocab_size] if view.pupil else []
        limit = min(known) if known else 0
        for split, index, segment in view.each_segment():
            highest = int(segment.ids.max())
            tally.see(split, f"{place_of(index, segment)}: {highest:,}", is_faulty=highest >= limit)
        yield from tally.faults(f"it has ids of {limit:,} or more, which the vocabulary has not", ID_ADVICE)


def _labelled(view: View) -> Iterator[tuple[str, Any]]:
    return ((split, each) for split, each in view.each_document() if each.meta.get("label") is not None)


def _kind(label: Any) -> str:
    if isinstance(label, int | float) and not isinstance(label, bool):
        return "number"
    return type(label).__name__
