"""Documents to token shards: the settings, the work, and the report of what became of them."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.encode import Encoded, ShardTokenizer, Skipped, encode_documents
from mainspring.data.shard_files import id_type_for
from mainspring.data.shard_writer import ShardWriter
from mainspring.errors import DocumentError

MAX_SKIPPED_SHOWN = 100


class ShardSettings(Config):
    """How documents become shards."""

    max_shard_tokens: int = Field(
        default=2**27, ge=1, description="ids of one shard; a longer document has its own"
    )
    id_type: Literal["auto", "uint16", "uint32"] = Field(
        default="auto", description="of an id in the files; auto is uint16 where the vocabulary fits"
    )
    begin: str = Field(default="", description="a special token before every text; empty for none")
    end: str = Field(default="", description="the one behind it; empty for the tokenizer's own end token")
    scores: tuple[str, ...] = Field(
        default=(), description="numbers of a document's meta to keep, for an order by them: loss, quality"
    )


class ShardReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the documents of a split. `skipped` has the first ones that gave no segment."""

    split: str
    segments: int
    tokens: int
    trained_tokens: int
    longest: int
    num_skipped: int
    reasons: dict[str, int]
    skipped: list[Skipped]


def write_shards(
    documents: Iterable[Document],
    tokenizer: ShardTokenizer,
    folder: Path,
    settings: ShardSettings = ShardSettings(),  # noqa: B008 - frozen
    split: str = "train",
) -> ShardReport:
    """Write one split of a folder of shards; documents are read as a stream.

    A document that is empty or no proper conversation is skipped and reported with its reason.

    Raises:
        ConfigError: a vocabulary larger than `id_type`, ids outside it, a special token that is not known.
        DocumentError: no document gave a segment.

    """
    longest, skipped, reasons = 0, [], Counter[str]()
    with ShardWriter(
        folder, split, tokenizer=tokenizer.fingerprint, vocab_size=tokenizer.vocab_size,
        id_type=id_type_for(tokenizer.vocab_size, settings.id_type), scores=settings.scores,
        max_tokens=settings.max_shard_tokens,
    ) as writer:  # fmt: skip
        for each in encode_documents(documents, tokenizer, begin=settings.begin, end=settings.end):
            if isinstance(each, Skipped):
                reasons[each.reason.partition(":")[0]] += 1
                skipped += [each] if len(skipped) < MAX_SKIPPED_SHOWN else []
                continue
            writer.add(each.ids, each.weight, each.document.id, _scores(each, settings.scores))
            longest = max(longest, len(each.ids))
        if not longest:
            raise DocumentError(f"No document of the split '{split}' gave a token: {_tell(reasons)}.")
    written = writer.split
    return ShardReport(
        split=split, segments=written.num_segments, tokens=written.num_tokens,
        trained_tokens=written.trained_tokens, longest=longest, num_skipped=reasons.total(),
        reasons=dict(reasons), skipped=skipped,
    )  # fmt: skip


def _scores(each: Encoded, names: tuple[str, ...]) -> list[float]:
    """Numbers of a document's meta; one that is not there is not a number."""
    values = [each.document.meta.get(name) for name in names]
    return [float(value) if isinstance(value, int | float) else float("nan") for value in values]


def _tell(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} ({count:,})" for reason, count in reasons.items()) or "there was none"
