"""What a model loses on documents, as it would be trained on them: the score of an order or a selection."""

import itertools
from collections.abc import Iterable, Iterator

from mainspring.data.document import Document
from mainspring.data.encode import Encoded, ShardTokenizer, encode_documents
from mainspring.models.model import Model
from mainspring.train.batch import Segment
from mainspring.train.teacher import answer_nll

AT_ONCE = 64


def document_nll(
    model: Model, tokenizer: ShardTokenizer, documents: Iterable[Document]
) -> Iterator[tuple[str, float]]:
    """(id, mean negative log-likelihood in nats a token) of each document, in order, from one forward.

    A document that is longer than the model's context is cut there; one in which nothing is trained is left out.
    """
    segments = (
        _segment(each, model.config.context)
        for each in encode_documents(documents, tokenizer)
        if isinstance(each, Encoded)
    )
    kept = (segment for segment in segments if segment.trained_tokens)
    while batch := list(itertools.islice(kept, AT_ONCE)):
        yield from zip((each.name for each in batch), answer_nll(model, batch), strict=True)


def _segment(each: Encoded, context: int) -> Segment:
    weight = each.weight or [1] * len(each.ids)
    return Segment(ids=each.ids[:context], weight=weight[:context], name=each.document.id)
