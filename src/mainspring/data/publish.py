"""Finished parts to a dataset: documents in files of bounded size, decisions, samples and the report.

DATASET/documents/train-00000.jsonl ...   what is learnt from, in the order of the sources
DATASET/dropped.jsonl, changed.jsonl      a line for every decision
DATASET/samples.jsonl                     some decisions of every reason, with their texts
DATASET/report.json                       counts
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact, sha256_of
from mainspring.data.decisions import Sample, Samples
from mainspring.data.finish import split_file
from mainspring.data.part_files import CHANGED, DROPPED, SAMPLES
from mainspring.data.plan import Plan
from mainspring.data.report import REPORT, Report
from mainspring.registry import Registry

KIND, DOCUMENTS = "dataset", "documents"


def publish(
    registry: Registry, plan: Plan, report: Report, read: Sequence[Path], finished: Sequence[Path]
) -> tuple[Artifact, bool]:
    """Make the dataset of the folders of parts, in order.

    Returns it, and whether it is new: where a version with the same config holds the same files, that one is
    returned. So a build that is made again, or was killed behind the publishing, leaves no second version.
    """

    def fill(folder: Path) -> None:
        _write_splits(plan, finished, folder / DOCUMENTS)
        for name in (DROPPED, CHANGED):
            _concatenate([part / name for part in (*read, *finished)], folder / name)
        _write_samples(plan, [*read, *finished], folder / SAMPLES)
        text = msgspec.json.format(msgspec.json.encode(report), indent=1)
        (folder / REPORT).write_bytes(text + b"\n")
        there = _same(registry, plan, folder)
        if there is not None:
            raise _AlreadyThere(there)

    recipe = plan.recipe
    try:
        made = artifacts.write(
            registry.root, KIND, recipe.name, fill, config=plan.config, license=recipe.license
        )
    except _AlreadyThere as already:
        return already.artifact, False
    return registry.add(made), True


class _AlreadyThere(Exception):  # noqa: N818 - it ends the writing and is no error
    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact.reference)
        self.artifact = artifact


def _write_splits(plan: Plan, finished: Sequence[Path], folder: Path) -> None:
    """The documents of each split, a new file once one has reached its size."""
    folder.mkdir()
    max_bytes = int(plan.recipe.max_file_mb * 1e6)
    for split in plan.recipe.split.names():
        count, size, out = 0, 0, None
        for part in finished:
            with (part / split_file(split)).open("rb") as stream:
                for line in stream:
                    if out is None or size >= max_bytes:
                        if out is not None:
                            out.close()
                        out = (folder / f"{split}-{count:05d}.jsonl").open("wb")
                        count, size = count + 1, 0
                    size += out.write(line)
        if out is not None:
            out.close()


def _concatenate(files: Sequence[Path], target: Path) -> None:
    with target.open("wb") as out:
        for file in files:
            with file.open("rb") as stream:
                shutil.copyfileobj(stream, out)


def _write_samples(plan: Plan, parts: Sequence[Path], target: Path) -> None:
    samples, decoder = Samples(plan.recipe.samples), msgspec.json.Decoder(Sample)
    for part in parts:
        with (part / SAMPLES).open("rb") as stream:
            for line in stream:
                samples.add(decoder.decode(line))
    target.write_bytes(b"".join(samples.lines()))


def _same(registry: Registry, plan: Plan, folder: Path) -> Artifact | None:
    """A version that this would repeat; sums are only taken where all sizes are equal."""
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    for reference in reversed(registry.list(KIND)):
        if not reference.startswith(f"{KIND}/{plan.recipe.name}@") or not registry.has(reference):
            continue
        there = registry.get(reference)
        is_alike = (there.config, there.license) == (plan.config, plan.recipe.license)
        if not is_alike or {name: file.size_bytes for name, file in there.files.items()} != sizes:
            continue
        if all(sha256_of(folder / name) == file.sha256 for name, file in there.files.items()):
            return there
    return None
