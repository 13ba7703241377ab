"""A dataset as the checks see it: its documents or its segments, read as streams, as often as they want."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mainspring.artifact import Artifact
from mainspring.data.doctor.allowed import Allowed, allowed_of
from mainspring.data.document import Document, read_documents
from mainspring.data.known_sets import known_sets
from mainspring.data.shard_dataset import (
    TOKENIZER,
    document_files,
    find_tokenizer,
    has_shards,
    open_shards,
)
from mainspring.data.shard_files import read_manifest
from mainspring.data.shards import Shards, ShardSegment
from mainspring.errors import NotFoundError, WeightsError
from mainspring.registry import Registry
from mainspring.schema import Message
from mainspring.tokenizer.base import Tokenizer

HELD_OUT = frozenset(
    {"test", "heldout", "held-out", "held_out", "validation", "valid", "dev", "eval", "evaluation"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pupil:
    """The model that is to learn from a dataset; `num_labels` is 0 where it does not classify texts."""

    reference: str
    tokenizer: Tokenizer
    vocab_size: int
    num_labels: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A dataset, and what is known of its surroundings.

    `tokenizer` is the one that made the ids of the shards, `end_ids` what may end a text or an answer, and
    `evaluation` gives (name, text) of what training must not contain.
    """

    reference: str
    documents: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    shards: Mapping[str, Shards] = field(default_factory=dict)
    file_sums: Mapping[str, str] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None
    end_ids: frozenset[int] = frozenset()
    pupil: Pupil | None = None
    evaluation: Sequence[tuple[str, str]] = ()
    allowed: Allowed | None = None

    @property
    def unit(self) -> str:
        """What is counted."""
        return "segments" if self.shards else "documents"

    def each_document(self) -> Iterator[tuple[str, Document]]:
        """(split, document) of all documents."""
        for split, files in self.documents.items():
            for file in files:
                yield from ((split, document) for document in read_documents(file))

    def each_segment(self) -> Iterator[tuple[str, int, ShardSegment]]:
        """(split, index, segment) of all segments."""
        for split, shards in self.shards.items():
            yield from ((split, index, shards.segment(index)) for index in range(shards.num_segments))

    def each_text(self) -> Iterator[tuple[str, str, str]]:
        """(split, place, text) of all documents or segments; a conversation is its contents in lines."""
        for split, document in self.each_document():
            contents = [message.content for message in messages_of(document)]
            yield split, document.id, "\n".join([document.text, *contents]) if contents else document.text
        if self.tokenizer is not None:
            for split, index, segment in self.each_segment():
                yield split, place_of(index, segment), self.tokenizer.decode(segment.ids.tolist())


def place_of(index: int, segment: ShardSegment) -> str:
    """How a segment is named to a user."""
    return f"{segment.document} (segment {index:,})"


def messages_of(document: Document) -> list[Message]:
    """The conversation of a document; none where it has none or one that is not well formed."""
    try:
        return msgspec.convert(document.meta.get("messages") or [], list[Message])
    except msgspec.ValidationError:
        return []


def open_view(
    registry: Registry,
    dataset: Artifact,
    *,
    model: str = "",
    gold_files: Sequence[Path] = (),
    labels: str = "",
) -> View:
    """A dataset of a registry.

    Args:
        registry: where it is.
        dataset: one of documents or of token shards.
        model: the model or tokenizer that is to learn from it, "" for none.
        gold_files: files of evaluation questions beside the sets that the registry knows.
        labels: which labels documents may bear, such as "0:4" or "no,maybe,yes"; "" for what the dataset says.

    Raises:
        NotFoundError, DocumentError: no such model, or a dataset that holds neither documents nor shards.

    """
    folder = registry.folder(dataset)
    shards: dict[str, Shards] = {}
    if has_shards(registry, dataset):
        splits = read_manifest(folder / "shards").splits
        shards = {split: open_shards(registry, dataset, split) for split in splits}
    tokenizer = _own_tokenizer(registry, dataset)
    texts = known_sets(registry, gold_files)
    return View(
        reference=dataset.reference, shards=shards, tokenizer=tokenizer,
        documents={} if shards else document_files(folder, dataset.reference),
        file_sums={name: file.sha256 for name, file in dataset.files.items()},
        end_ids=_end_ids(tokenizer, str(dataset.config.get("end", ""))),
        pupil=_pupil(registry, model) if model else None,
        evaluation=[each for each in texts if not each[0].startswith(f"{dataset.reference}#")],
        allowed=allowed_of(labels or dataset.config.get("labels")),
    )  # fmt: skip


def _own_tokenizer(registry: Registry, dataset: Artifact) -> Tokenizer | None:
    """What made the ids; that none is found is a fault that a check tells."""
    try:
        return Tokenizer.load(registry.folder(registry.get(dataset.parents[TOKENIZER])))
    except (KeyError, NotFoundError, WeightsError):
        return None


def _end_ids(tokenizer: Tokenizer | None, end: str) -> frozenset[int]:
    if tokenizer is None:
        return frozenset()
    return frozenset(tokenizer.end_ids) | ({tokenizer.special[end]} if end in tokenizer.special else set())


def _pupil(registry: Registry, name: str) -> Pupil:
    found = find_tokenizer(registry, name)
    tokenizer = Tokenizer.load(registry.folder(found))
    path = registry.folder(found) / "config.json"
    published = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kinds = " ".join(published.get("architectures") or ())
    classifies = "ForSequenceClassification" in kinds
    return Pupil(
        reference=found.reference, tokenizer=tokenizer,
        vocab_size=int(published.get("vocab_size") or tokenizer.vocab_size),
        num_labels=len(published.get("id2label") or range(2)) if classifies else 0,
    )  # fmt: skip
