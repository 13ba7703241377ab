"""A dataset of documents to one that holds new documents beside them.

    document, document~mask-1, document~mask-2, next document, ...

A new document tells in its meta what it is (`augmented`) and what it was made of (`of`), and is of that one's group.
Splits that are not augmented are copied as they are: what is judged by stays real.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pydantic

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.config import Config
from mainspring.data.augment.base import Augmenter, texts_of, with_texts
from mainspring.data.augment.counterfactual import Counterfactual
from mainspring.data.augment.counterfactual import Settings as CounterfactualSettings
from mainspring.data.augment.mask import Mask
from mainspring.data.augment.mask import Settings as MaskSettings
from mainspring.data.augment.paraphrase import Paraphrase
from mainspring.data.augment.paraphrase import Settings as ParaphraseSettings
from mainspring.data.document import Document, read_documents, write_documents
from mainspring.data.shard_dataset import DOCUMENTS, document_files
from mainspring.errors import ConfigError, NotFoundError
from mainspring.progress import bar
from mainspring.protocols import ChatModel
from mainspring.registry import Registry

AT_ONCE = 64  # documents whose texts go to an augmenter together


class AugmentConfig(Config):
    """What is made of which documents."""

    kind: Literal["mask", "counterfactual", "paraphrase"] = pydantic.Field(
        default="mask", description="mask, counterfactual or paraphrase."
    )
    copies: int = pydantic.Field(default=1, ge=1, description="New documents for each one.")
    splits: tuple[str, ...] = pydantic.Field(default=("train",), description="Splits that are augmented.")
    keep: bool = pydantic.Field(default=True, description="Keep the documents that new ones are made of.")
    mask: MaskSettings = pydantic.Field(default=MaskSettings(), description="Of masking.")
    counterfactual: CounterfactualSettings = pydantic.Field(
        default=CounterfactualSettings(), description="Of exchanging terms."
    )
    paraphrase: ParaphraseSettings = pydantic.Field(
        default=ParaphraseSettings(), description="Of paraphrasing."
    )

    @pydantic.model_validator(mode="after")
    def _check_copies(self) -> "AugmentConfig":
        if self.kind == "counterfactual" and self.copies > 1:
            raise ValueError("a text has one counterfactual: `copies` is 1")
        return self


def make_augmenter(config: AugmentConfig, model: ChatModel | None = None) -> Augmenter:
    """The augmenter of a kind; a paraphrase needs a model."""
    if config.kind == "mask":
        return Mask(config.mask)
    if config.kind == "counterfactual":
        return Counterfactual(config.counterfactual)
    if model is None:
        raise ConfigError("A paraphrase needs a chat model; name one with --model.")
    return Paraphrase(config.paraphrase, model)


def augment_dataset(
    registry: Registry,
    dataset: Artifact,
    augmenter: Augmenter,
    config: AugmentConfig,
    *,
    name: str,
    model: str = "",
) -> tuple[Artifact, Counter[str]]:
    """Make a dataset with new documents beside the old ones.

    Args:
        registry: where both are.
        dataset: one of documents.
        augmenter: what makes the new ones.
        config: of it.
        name: of the new dataset.
        model: the reference of the model that the augmenter asks, "" for none.

    Returns:
        The dataset, and how many documents were `made`; the others by the reason for which they were not.

    """
    splits = document_files(registry.folder(dataset), dataset.reference)
    missing = [split for split in config.splits if split not in splits]
    if missing:
        raise NotFoundError(f"{dataset.reference} has no split '{missing[0]}'; it has {', '.join(splits)}.")
    counts: Counter[str] = Counter()

    def fill(folder: Path) -> None:
        (folder / DOCUMENTS).mkdir()
        with bar(config.kind, sum(map(len, splits.values())), "files") as advance:
            for split, files in splits.items():
                for number, file in enumerate(files):
                    target = folder / DOCUMENTS / f"{split}-{number:05d}.jsonl"
                    if split in config.splits:
                        write_documents(target, _augmented(read_documents(file), augmenter, config, counts))
                    else:
                        target.write_bytes(file.read_bytes())
                    advance(1)

    settings = {
        key: value for key, value in config.model_dump(mode="json").items() if key not in _others(config.kind)
    }
    parents = {DOCUMENTS: dataset.reference} | ({"model": model} if model else {})
    made = artifacts.write(
        registry.root, "dataset", name, fill, config=settings, parents=parents, license=dataset.license
    )
    return registry.add(made), counts


def _augmented(
    documents: Iterator[Document], augmenter: Augmenter, config: AugmentConfig, counts: Counter[str]
) -> Iterator[Document]:
    while batch := list(itertools.islice(documents, AT_ONCE)):
        made = [_copies(batch, augmenter, copy, counts) for copy in range(1, config.copies + 1)]
        for number, document in enumerate(batch):
            if config.keep:
                yield document
            yield from (each[number] for each in made if each[number] is not None)  # type: ignore[misc]


def _copies(
    batch: Sequence[Document], augmenter: Augmenter, copy: int, counts: Counter[str]
) -> list[Document | None]:
    """One new document for each; None where no text of it was changed."""
    texts = [texts_of(document, augmenter.roles) for document in batch]
    keys = [
        f"{document.id}\0{place}"
        for document, each in zip(batch, texts, strict=True)
        for place in range(len(each))
    ]
    changed = iter(augmenter([text for each in texts for text in each], keys, copy))
    found: list[Document | None] = []
    for document, before in zip(batch, texts, strict=True):
        after = list(itertools.islice(changed, len(before)))
        if not any(each.text is not None for each in after):
            counts[after[0].reason if after else "no text"] += 1
            found.append(None)
            continue
        counts["made"] += 1
        whole = [old if new.text is None else new.text for old, new in zip(before, after, strict=True)]
        found.append(with_texts(document, augmenter.roles, whole, augmenter.name, copy))
    return found


def _others(kind: str) -> set[str]:
    """Settings of the kinds that are not used."""
    return {"mask", "counterfactual", "paraphrase"} - {kind}
