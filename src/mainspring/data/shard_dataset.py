"""A dataset of documents to a dataset of token shards, and such a dataset to its shards and its tokenizer."""

from pathlib import Path

import msgspec

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.data.document import read_documents
from mainspring.data.encode import ShardTokenizer
from mainspring.data.shard import ShardReport, ShardSettings, write_shards
from mainspring.data.shards import Shards
from mainspring.errors import DocumentError, NotFoundError
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.tokenizer.base import Tokenizer

DOCUMENTS, SHARDS, TOKENIZER = "documents", "shards", "tokenizer"


def shard_dataset(
    registry: Registry,
    documents: Artifact,
    source: Artifact,
    tokenizer: ShardTokenizer,
    settings: ShardSettings,
    *,
    name: str,
) -> tuple[Artifact, list[ShardReport]]:
    """Make a dataset of shards from one of documents, split by split.

    Args:
        registry: where both are.
        documents: a dataset with `documents/<split>-*.jsonl`, verified.
        source: the tokenizer or model that the tokenizer is of.
        tokenizer: what encodes.
        settings: how.
        name: of the new dataset.

    """
    splits = _splits(registry.folder(documents), documents.reference)
    reports: list[ShardReport] = []

    def fill(folder: Path) -> None:
        for split, files in splits.items():
            say(f"encoding the split '{split}' of {documents.reference}: {len(files)} files")
            stream = (document for file in files for document in read_documents(file))
            reports.append(write_shards(stream, tokenizer, folder / SHARDS, settings, split))
        report = msgspec.json.format(msgspec.json.encode(reports), indent=1)
        (folder / "shard-report.json").write_bytes(report + b"\n")

    config = {"tokenizer": tokenizer.fingerprint, **settings.model_dump(mode="json")}
    parents = {"documents": documents.reference, "tokenizer": source.reference}
    made = artifacts.write(
        registry.root, "dataset", name, fill, config=config, parents=parents, license=documents.license
    )
    return registry.add(made), reports


def has_shards(registry: Registry, dataset: Artifact) -> bool:
    """Whether a dataset is one of token shards."""
    return (registry.folder(dataset) / SHARDS).is_dir()


def open_shards(registry: Registry, dataset: Artifact, split: str = "train") -> Shards:
    """The shards of a split of a dataset.

    Raises:
        NotFoundError: the dataset holds none.

    """
    if not has_shards(registry, dataset):
        raise NotFoundError(
            f"{dataset.reference} holds no token shards. Make some of its documents with "
            f"`mainspring data shard {dataset.name} --tokenizer NAME`."
        )
    return Shards(registry.folder(dataset) / SHARDS, split)


def find_tokenizer(registry: Registry, name: str) -> Artifact:
    """The artifact of a tokenizer or of the model that has one, by its reference or its bare name."""
    if "/" in name:
        return registry.get(name)
    for reference in (f"tokenizer/{name}", f"model/{name}"):
        if registry.has(reference):
            return registry.get(reference)
    there = [*registry.list("tokenizer"), *registry.list("model")]
    raise NotFoundError(
        f"There is no tokenizer or model '{name}'; there is {', '.join(there) or 'none yet'}."
    )


def tokenizer_of(registry: Registry, dataset: Artifact, shards: Shards) -> Tokenizer:
    """The tokenizer that made the ids of a dataset, proved by its fingerprint."""
    reference = dataset.parents.get(TOKENIZER, "")
    if not reference:
        raise NotFoundError(f"{dataset.reference} does not name its tokenizer. Make it again.")
    tokenizer = Tokenizer.load(registry.folder(registry.get(reference)))
    shards.check_tokenizer(tokenizer.fingerprint, reference)
    return tokenizer


def _splits(folder: Path, reference: str) -> dict[str, list[Path]]:
    """Files by the name of their split, in order."""
    splits: dict[str, list[Path]] = {}
    written = (path for path in (folder / DOCUMENTS).glob("*.jsonl") if path.stat().st_size)
    for path in sorted(written):
        splits.setdefault(path.stem.rpartition("-")[0] or path.stem, []).append(path)
    if not splits:
        raise DocumentError(
            f"{reference} holds no documents ({DOCUMENTS}/SPLIT-*.jsonl). Make some with `mainspring data build`."
        )
    return splits
