"""Sources to the next version of a knowledge base: only what changed is parsed anew and embedded.

    read -> hash -> unchanged? keep : parse -> cut -> embed in batches, each kept -> publish at once

A run that is killed leaves no version, but the vectors of its finished batches, which the next run finds.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pydantic

from mainspring import progress
from mainspring.artifact import fingerprint_of
from mainspring.config import Config
from mainspring.data.parse.base import MAX_BYTES
from mainspring.data.parse.limits import ParseLimits
from mainspring.data.sources import Rejected, Source
from mainspring.errors import DocumentError
from mainspring.knowledge.chunk import ChunkSettings, chunk, embed_text
from mainspring.knowledge.scope import Scope
from mainspring.knowledge.store import Document, Draft, Store
from mainspring.protocols import Embedder

PARSER_EDITION = 1  # raised when the parsers or the chunker give other text or other cuts for the same bytes


class IndexSettings(Config):
    """How documents become chunks of a knowledge base."""

    chunk: ChunkSettings = pydantic.Field(default=ChunkSettings(), description="How documents are cut.")
    max_bytes: int = pydantic.Field(
        default=MAX_BYTES, ge=1, description="Largest document that is read, in bytes."
    )
    limits: ParseLimits = pydantic.Field(
        default=ParseLimits(), description="What one document may cost while it is read."
    )
    batch_size: int = pydantic.Field(default=64, ge=1, description="Chunks embedded and kept at a time.")
    wait_s: float = pydantic.Field(
        default=60.0,
        ge=0,
        description="How long to wait for another process that writes the same knowledge base.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a sync did. `reused` counts embeddings found from before, an interrupted run's among them."""

    version: int
    documents: int
    chunks: int
    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    embedded: int
    reused: int


@dataclass(slots=True)
class _Plan:
    drafts: list[Draft] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def sync(
    store: Store,
    sources: Iterable[Source | Rejected],
    embedder: Embedder,
    settings: IndexSettings,
    tenant: str = "local",
) -> SyncReport:
    """Make the knowledge base hold exactly what `sources` give; a version is made only if something differs.

    Raises:
        DocumentError: no source gives a document.
        BusyError: another process has been writing the knowledge base for longer than `settings.wait_s`.

    """
    with store.writing(settings.wait_s):
        scope = Scope(tenant=tenant)
        before = {document.id: document for document in store.documents(scope)} if store.latest() else {}
        plan = _plan(sources, before, settings, tenant)
        removed = sorted(set(before) - {draft.id for draft in plan.drafts} - set(plan.kept))
        texts = plan.texts | _texts_of(store, scope, set(plan.kept))
        embedded, reused = _embed(store, texts, embedder, settings.batch_size)
        version = store.latest()
        if plan.drafts or removed or store.embedder(version) != embedder.fingerprint:
            version = store.publish(tenant, plan.drafts, removed, embedder.fingerprint)
        now = Scope(tenant=tenant, version=version)
        return SyncReport(
            version=version, documents=len(store.documents(now)), chunks=len(store.chunks(now)),
            added=tuple(draft.id for draft in plan.drafts if draft.id not in before),
            changed=tuple(draft.id for draft in plan.drafts if draft.id in before),
            unchanged=tuple(plan.kept), removed=tuple(removed), rejected=tuple(plan.rejected),
            embedded=embedded, reused=reused,
        )  # fmt: skip


def _plan(
    sources: Iterable[Source | Rejected], before: dict[str, Document], settings: IndexSettings, tenant: str
) -> _Plan:
    """Read every source and decide what it is: unchanged, a draft of the next version, or rejected."""
    plan = _Plan()
    entries = list(sources)
    with progress.bar("read", len(entries), "documents") as advance:
        for entry in entries:
            if isinstance(entry, Rejected):
                plan.rejected.append(entry)
            else:
                _take(plan, entry, before.get(entry.name), settings, tenant)
            advance(1)
    if not plan.drafts and not plan.kept:
        reasons = "; ".join(f"{entry.name}: {entry.reason}" for entry in plan.rejected[:10])
        raise DocumentError(
            f"None of {len(entries)} documents can be read ({reasons or 'there are none'}). "
            "Give at least one document with text."
        )
    return plan


def _take(plan: _Plan, source: Source, known: Document | None, settings: IndexSettings, tenant: str) -> None:
    recipe = fingerprint_of(
        [PARSER_EDITION, source.format, source.title, settings.chunk.model_dump(mode="json")]
    )
    try:
        data = source.read(settings.max_bytes)
        sha256 = hashlib.sha256(data).hexdigest()
        if known is not None and (known.sha256, known.recipe) == (sha256, recipe):
            plan.kept.append(source.name)
            return
        parsed = source.parse(data, settings.max_bytes, settings.limits)
    except DocumentError as error:
        plan.rejected.append(Rejected(name=source.name, reason=str(error)))
        return
    title = source.title or parsed.title or PurePosixPath(source.name).stem
    chunks = []
    for span in chunk(parsed, settings.chunk):
        text = embed_text(title, span.heading, parsed.text[span.start : span.end])
        content = hashlib.sha256(text.encode()).hexdigest()
        chunk_id = fingerprint_of([tenant, source.name, sha256, recipe, span.start, span.end])[:16]
        plan.texts[content] = text
        chunks.append((chunk_id, span.heading, span.start, span.end, content))
    plan.drafts.append(
        Draft(
            id=source.name, title=title, sha256=sha256, recipe=recipe, text=parsed.text, chunks=tuple(chunks)
        )
    )


def _texts_of(store: Store, scope: Scope, kept: set[str]) -> dict[str, str]:
    """What is embedded for the chunks of unchanged documents: needed when the embedder is another one."""
    stored = store.chunks(scope) if kept else []
    return {
        entry.content: embed_text(entry.chunk.title, entry.chunk.heading, entry.chunk.text)
        for entry in stored
        if entry.chunk.document in kept
    }


def _embed(store: Store, texts: dict[str, str], embedder: Embedder, batch_size: int) -> tuple[int, int]:
    """Embed what is missing, keeping each batch at once; returns how many were embedded and were there."""
    known = store.has_vectors(list(texts), embedder.fingerprint)
    missing: Sequence[str] = sorted(
        (key for key in texts if key not in known), key=lambda key: len(texts[key])
    )
    if known:
        progress.say(f"{len(known):,} of {len(texts):,} embeddings are already there")
    if missing:
        with progress.bar("embed", len(missing), "chunks") as advance:
            for start in range(0, len(missing), batch_size):
                batch = missing[start : start + batch_size]
                vectors = embedder.embed([texts[key] for key in batch], advance=advance)
                store.put_vectors(batch, vectors, embedder.fingerprint)
    return len(missing), len(known)
