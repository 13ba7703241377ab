"""A dataset of documents to one with other splits: by hash, by time, or in folds for cross-validation.

    documents -> where each group goes (first look) -> DATASET/documents/<split>-00000.jsonl (second look)

By hash the place of a group never changes, whatever else comes or goes. By time a group goes where its latest
document goes, so that nothing in an earlier split was written later than its date. Folds are balanced, and
therefore dealt anew when documents come or go. A document's line is copied as it is.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pydantic

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.data.assign import Assign, Place, SplitSettings
from mainspring.data.folds import deal
from mainspring.data.shard_dataset import DOCUMENTS, document_files
from mainspring.errors import ConfigError, DocumentError
from mainspring.registry import Registry

NO_LABEL = ""


class SplitConfig(SplitSettings):
    """How the documents of a dataset are split again."""

    folds: int = pydantic.Field(
        default=0,
        ge=0,
        description="So many folds of equal size instead of fractions; each is a split `fold-N`.",
    )
    stratify: str = pydantic.Field(
        default="", description="A name in the documents' meta whose values are spread evenly over the folds."
    )
    only: str = pydantic.Field(
        default="", description="Split this split alone, and leave the others as they are; empty for all."
    )

    @pydantic.model_validator(mode="after")
    def _check_folds(self) -> "SplitConfig":
        if self.folds == 1:
            raise ValueError("`folds` is 1; give 2 or more, or 0 for a split by fractions or time")
        if self.folds and self.by == "time":
            raise ValueError("folds are made by group or document, not by time")
        if self.stratify and not self.folds:
            raise ValueError("`stratify` is for folds; set `folds`, too")
        return self


class Labelled(Place, frozen=True, kw_only=True):
    """What decides over the place of a document, its labels among it."""

    meta: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it


class SplitCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a split holds; `labels` counts the values of the name to stratify by."""

    documents: int
    groups: int
    labels: dict[str, int]


def split_dataset(
    registry: Registry, dataset: Artifact, config: SplitConfig, *, name: str
) -> tuple[Artifact, dict[str, SplitCounts]]:
    """Make a dataset of the same documents in other splits.

    Raises:
        ConfigError: a split of that name is kept as it is, or fewer groups than folds.
        DocumentError: the dataset holds no documents, or none bears the label to stratify by.

    """
    there = document_files(registry.folder(dataset), dataset.reference)
    kept = {split: files for split, files in there.items() if config.only not in ("", split)}
    files = [file for split, each in there.items() if split not in kept for file in each]
    if not files:
        raise ConfigError(f"{dataset.reference} has no split '{config.only}'; it has {', '.join(there)}.")
    assign = assigner(files, config)
    counts: dict[str, SplitCounts] = {}

    def fill(folder: Path) -> None:
        (folder / DOCUMENTS).mkdir()
        for split, each in kept.items():
            for number, file in enumerate(each):
                (folder / DOCUMENTS / f"{split}-{number:05d}.jsonl").write_bytes(file.read_bytes())
        counts.update(_write(files, assign, config, folder / DOCUMENTS, kept))

    made = artifacts.write(
        registry.root, "dataset", name, fill, config=config.model_dump(mode="json"),
        parents={DOCUMENTS: dataset.reference}, license=dataset.license,
    )  # fmt: skip
    return registry.add(made), counts


def assigner(files: Sequence[Path], config: SplitConfig) -> Callable[[Labelled], str]:
    """What tells the split of a document of these files."""
    if config.folds:
        return _by_fold(files, config)
    assign = Assign(config)
    if config.by != "time":
        return assign
    latest: dict[str, str] = {}
    for _, place in _places(files):
        if place.group:
            latest[place.group] = max(latest.get(place.group, ""), place.time)
    return lambda place: assign(msgspec.structs.replace(place, time=latest.get(place.group, place.time)))


def _by_fold(files: Sequence[Path], config: SplitConfig) -> Callable[[Labelled], str]:
    groups: dict[str, Counter[str]] = {}
    for _, place in _places(files):
        groups.setdefault(_group(place, config), Counter())[_label(place, config)] += 1
    if len(groups) < config.folds:
        raise ConfigError(
            f"`folds` is {config.folds}, but there are only {len(groups)} groups, which are not torn. Set fewer folds, "
            "or `by` to document."
        )
    if config.stratify and all(set(counts) == {NO_LABEL} for counts in groups.values()):
        raise DocumentError(f"No document has '{config.stratify}' in its meta, which `stratify` names.")
    found = deal(groups, config.folds, config.seed)
    return lambda place: f"fold-{found[_group(place, config)]}"


def _group(place: Place, config: SplitConfig) -> str:
    """What stays together; a group and a document of the same name are two."""
    return f"g{place.group}" if place.group and config.by == "group" else f"d{place.id}"


def _label(place: Labelled, config: SplitConfig) -> str:
    value = place.meta.get(config.stratify) if config.stratify else None
    return NO_LABEL if value is None else str(value)


def _places(files: Sequence[Path]) -> Iterator[tuple[bytes, Labelled]]:
    """(line, what decides) of every document."""
    decode = msgspec.json.Decoder(Labelled).decode
    for file in files:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    yield line, decode(line)
                except msgspec.MsgspecError as error:
                    raise DocumentError(
                        f"{file}, line {number}: not a document ({error}). Build it again."
                    ) from error


def _write(
    files: Sequence[Path],
    assign: Callable[[Labelled], str],
    config: SplitConfig,
    folder: Path,
    kept: Mapping[str, Any],
) -> dict[str, SplitCounts]:
    """Copy every line into the file of its split."""
    documents, groups, labels = Counter[str](), dict[str, set[str]](), dict[str, Counter[str]]()
    streams: dict[str, BinaryIO] = {}
    with ExitStack() as stack:
        for line, place in _places(files):
            split = assign(place)
            if split in kept:
                raise ConfigError(
                    f"'{split}' is a split already, and `only` leaves it as it is. Name it otherwise."
                )
            if split not in streams:
                streams[split] = stack.enter_context((folder / f"{split}-00000.jsonl").open("wb"))
            streams[split].write(line if line.endswith(b"\n") else line + b"\n")
            documents[split] += 1
            groups.setdefault(split, set()).add(_group(place, config))
            labels.setdefault(split, Counter())[_label(place, config)] += 1
    return {
        split: SplitCounts(
            documents=count, groups=len(groups[split]), labels=dict(labels[split]) if config.stratify else {}
        )
        for split, count in sorted(documents.items())
    }
