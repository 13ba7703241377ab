"""Ids that another tokenizer made, or a template that the model does not have: training learns another language."""

from collections.abc import Iterator
from itertools import islice

from mainspring.chat import render
from mainspring.data.doctor.base import Fault, Tally
from mainspring.data.doctor.view import Pupil, View, messages_of
from mainspring.errors import ChatError, ConfigError, TemplateError

MAX_TRIED = 20  # conversations of each split that are rendered with the model's template
ADVICE = "Make shards with the tokenizer of the model: `mainspring data shard --tokenizer MODEL`."
DOCUMENT_ADVICE = (
    "Take a model that is tuned for chat, or give this one a chat template that ends every answer."
)


class TemplateMismatch:
    """Fingerprints of tokenizer and template differ, or the model's template cannot render the conversations."""

    name = "template_mismatch"

    def __call__(self, view: View) -> Iterator[Fault]:
        for split, shards in view.shards.items():
            made_by = shards.manifest.tokenizer
            if view.tokenizer is None or view.tokenizer.fingerprint != made_by:
                yield self._fault(
                    split, f"the tokenizer that made its ids ({made_by[:12]}) is not the one it names"
                )
            if view.pupil is not None:
                try:
                    shards.check_tokenizer(view.pupil.tokenizer.fingerprint, view.pupil.reference)
                except ConfigError:
                    yield self._fault(split, f"its ids are not those of {view.pupil.reference}")
        if view.pupil is not None and view.documents:
            yield from self._rendered(view, view.pupil)

    def _fault(self, split: str, what: str) -> Fault:
        return Fault(check=self.name, where=split, what=what, numbers={}, advice=ADVICE)

    def _rendered(self, view: View, pupil: Pupil) -> Iterator[Fault]:
        tally = Tally(self.name, view.unit)
        conversations = (
            (split, document) for split, document in view.each_document() if "messages" in document.meta
        )
        for split, document in islice(conversations, MAX_TRIED):
            messages = messages_of(document)
            num_answers = sum(each.role == "assistant" and bool(each.content.strip()) for each in messages)
            try:
                is_faulty = render(messages, pupil.tokenizer).num_ends < num_answers
            except TemplateError:
                is_faulty = True
            except ChatError:  # no conversation for any template
                continue
            tally.see(split, document.id, is_faulty=is_faulty)
        what = f"the chat template of {pupil.reference} cannot render it, or does not end its answers"
        yield from tally.faults(what, DOCUMENT_ADVICE)
