"""Active learning: which documents are worth to be labelled or learnt next, by a model's scores of them.

uncertainty   those that the model is least sure of
diversity     those that cover the set, unlike what is labelled already
both          the least sure ones first (`candidates` times as many as wanted), then those of them that cover
              them: uncertain documents are often alike (Zhdanov, arXiv:1901.05954)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pydantic

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.config import Config
from mainspring.data.diversity import clusters_of, in_turn, k_center
from mainspring.data.document import Document, read_documents, stable_hash, write_documents
from mainspring.data.scores import Scored
from mainspring.data.shard_dataset import DOCUMENTS, document_files
from mainspring.data.uncertainty import Measure
from mainspring.errors import ConfigError, NotFoundError
from mainspring.registry import Registry


class SelectConfig(Config):
    """How documents are chosen."""

    count: int = pydantic.Field(default=100, ge=1, description="How many documents.")
    by: Literal["uncertainty", "diversity", "both"] = pydantic.Field(
        default="both", description="What makes a document worth choosing."
    )
    measure: Measure = pydantic.Field(
        default="entropy", description="Of uncertainty: entropy, margin or least_confidence."
    )
    spread: Literal["k_center", "clusters"] = pydantic.Field(
        default="k_center", description="Of diversity: farthest first, or from k-means clusters in turn."
    )
    candidates: float = pydantic.Field(
        default=10, ge=1, description="By both, the least sure ones so many times `count` are looked at."
    )
    clusters: int = pydantic.Field(
        default=0, ge=0, description="Clusters to take from; 0 for as many as `count`."
    )
    cosine: bool = pydantic.Field(
        default=True, description="Vectors are compared by direction; false by Euclidean distance."
    )
    seed: int = pydantic.Field(
        default=0, ge=0, description="Decides between equals, and begins the clusters."
    )


def choose(scored: Scored, config: SelectConfig) -> list[int]:
    """Indices of the documents chosen, the most worth first; fewer than wanted where there are no more.

    Raises:
        ConfigError: what is chosen by is missing from the scores.

    """
    free = np.flatnonzero(~scored.labelled_N)
    if config.by == "uncertainty":
        return _least_sure(scored, free, config)[: config.count].tolist()
    if scored.vectors_ND is None:
        raise ConfigError(
            f"By {config.by}, every score needs a `vector`, and some have none. Add them, embed the documents with "
            "--embed, or choose by uncertainty."
        )
    if config.by == "both":
        most = max(config.count, round(config.candidates * config.count))
        free = _least_sure(scored, free, config)[:most]
    return _spread(scored, scored.vectors_ND, free, config)


def _least_sure(scored: Scored, free: np.ndarray, config: SelectConfig) -> np.ndarray:
    """Indices by falling uncertainty; between equals a hash decides, so that no source is preferred."""
    if scored.uncertainty_N is None:
        raise ConfigError(
            f"By {config.by}, every score needs `probabilities` or `nll`, and some have neither. Add them, or choose "
            "by diversity."
        )
    ties = np.array([stable_hash(f"{config.seed}\0{scored.ids[index]}") for index in free], dtype=np.uint64)
    return free[np.lexsort((ties, -scored.uncertainty_N[free]))]


def _spread(scored: Scored, vectors_ND: np.ndarray, free: np.ndarray, config: SelectConfig) -> list[int]:
    """Of the free documents those that cover them; k-center keeps away from the labelled ones, too."""
    if not len(free):
        return []
    labelled = np.flatnonzero(scored.labelled_N) if config.spread == "k_center" else free[:0]
    vectors = vectors_ND[np.concatenate([labelled, free])].astype(np.float64)
    if config.cosine:
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    if config.spread == "k_center":
        first = 0 if config.by == "both" else None  # the least sure one
        found = k_center(vectors, config.count, range(len(labelled)), first)
        return [int(free[index - len(labelled)]) for index in found]
    cluster_N, distance_N = clusters_of(vectors, config.clusters or config.count, config.seed)
    worth_N = -distance_N if config.by == "diversity" else -np.arange(len(free), dtype=np.float64)
    return [int(free[index]) for index in in_turn(cluster_N, worth_N, config.count)]


def select_dataset(
    registry: Registry, dataset: Artifact, scored: Scored, config: SelectConfig, *, name: str
) -> tuple[Artifact, list[str]]:
    """Make a dataset of the documents chosen, the most worth first, and tell their ids.

    Raises:
        ConfigError: what is chosen by is missing from the scores.
        NotFoundError: scores of documents that the dataset does not have.

    """
    chosen = choose(scored, config)
    ids = [scored.ids[index] for index in chosen]
    files = document_files(registry.folder(dataset), dataset.reference)
    documents = _find([file for each in files.values() for file in each], ids, dataset.reference)
    unsure = scored.uncertainty_N
    told = [{} if unsure is None else {"uncertainty": round(float(unsure[index]), 6)} for index in chosen]
    marked = [
        msgspec.structs.replace(document, meta={**document.meta, "chosen": rank, **more})
        for rank, (document, more) in enumerate(zip(documents, told, strict=True), start=1)
    ]

    def fill(folder: Path) -> None:
        (folder / DOCUMENTS).mkdir()
        write_documents(folder / DOCUMENTS / "train-00000.jsonl", marked)

    made = artifacts.write(
        registry.root, "dataset", name, fill, config=config.model_dump(mode="json"),
        parents={DOCUMENTS: dataset.reference}, license=dataset.license,
    )  # fmt: skip
    return registry.add(made), ids


def _find(files: Sequence[Path], ids: Sequence[str], reference: str) -> list[Document]:
    """The documents of these ids, in their order; the rest is read and forgotten."""
    wanted = set(ids)
    found = {each.id: each for file in files for each in read_documents(file) if each.id in wanted}
    missing = [each for each in ids if each not in found]
    if missing:
        raise NotFoundError(
            f"{reference} has no document '{missing[0]}' ({len(missing):,} of {len(ids):,} are missing), which the "
            "scores name. Give scores of this dataset."
        )
    return [found[each] for each in ids]
