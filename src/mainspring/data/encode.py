"""Documents to token ids and weights: text is encoded and ended, conversations are rendered as a server would."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from mainspring.chat import ChatTokenizer, render
from mainspring.data.document import Document
from mainspring.errors import ChatError, ConfigError, TemplateError
from mainspring.schema import Message

BATCH_DOCUMENTS, BATCH_CHARACTERS = 1024, 4_000_000


class ShardTokenizer(ChatTokenizer, Protocol):
    """What shards need of a tokenizer."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def vocab_size(self) -> int: ...

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of plain texts, nothing added."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The ids of a document; weight None means that every id is trained."""

    document: Document
    ids: list[int]
    weight: list[int] | None


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A document that gave no segment, and why."""

    document: str
    reason: str


def encode_documents(
    documents: Iterable[Document], tokenizer: ShardTokenizer, *, begin: str = "", end: str = ""
) -> Iterator[Encoded | Skipped]:
    """Encode documents in order, a few thousand at once.

    Args:
        documents: those with meta["messages"] are conversations, whose answers alone are trained.
        tokenizer: what encodes, with its template and special tokens.
        begin: a special token to put before every text, "" for none.
        end: the one behind it, "" for the tokenizer's own end token.

    Raises:
        ConfigError: a token that is not among the tokenizer's special ones, or no end token at all.
        TemplateError: a template that renders no conversation, or ends no answer.

    """
    before = [_special(tokenizer, begin, "begin")] if begin else []
    after = [_special(tokenizer, end or tokenizer.eos, "end")]
    for batch in _batches(documents):
        texts = [each for each in batch if not _why_not(each) and "messages" not in each.meta]
        found = iter(tokenizer.encode_many([each.text for each in texts]))
        for document in batch:
            if "messages" in document.meta:
                yield _conversation(document, tokenizer)
            elif reason := _why_not(document):
                yield Skipped(document=document.id, reason=reason)
            else:
                yield Encoded(document=document, ids=[*before, *next(found), *after], weight=None)


def _special(tokenizer: ShardTokenizer, name: str, setting: str) -> int:
    if name in tokenizer.special:
        return tokenizer.special[name]
    known = ", ".join(tokenizer.special) or "it has none"
    given = (
        f"'{name}' is not a special token of the tokenizer" if name else "The tokenizer names no end token"
    )
    raise ConfigError(f"{given} ({known}). Set `{setting}` to one of these.")


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if len(batch) == BATCH_DOCUMENTS or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _why_not(document: Document) -> str:
    """Why the text of a document cannot be encoded, "" if it can."""
    if not document.text.strip():
        return "empty"
    try:
        document.text.encode()
    except UnicodeEncodeError as error:
        return f"half a character at {error.start} (a lone surrogate)"
    return ""


def _conversation(document: Document, tokenizer: ShardTokenizer) -> Encoded | Skipped:
    try:
        messages = msgspec.convert(document.meta["messages"], list[Message])
        rendered = render(messages, tokenizer)
    except (msgspec.ValidationError, ChatError) as error:
        return Skipped(document=document.id, reason=f"not a conversation: {error}")
    except TemplateError as error:
        raise TemplateError(f"{document.id}: {error}") from error
    num_answers = sum(each.role == "assistant" and bool(each.content.strip()) for each in messages)
    if not num_answers:
        return Skipped(document=document.id, reason="no answer of the assistant to learn from")
    if rendered.num_ends < num_answers:
        raise TemplateError(
            f"{document.id}: the chat template puts no end token behind an answer, so a model trained with it "
            "would never stop. Use a template that ends every answer."
        )
    return Encoded(document=document, ids=rendered.ids, weight=rendered.weight)
