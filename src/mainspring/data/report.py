"""What a build says of itself. The report lies in the dataset and is the same in every build; times are the run's."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from mainspring.data import same
from mainspring.data.contaminate import Contaminate
from mainspring.data.counts import Counts, SourceCounts, StepCounts, num_dropped
from mainspring.data.duplicates import Clusters, Found
from mainspring.data.ledger import READ
from mainspring.data.numbered import Numbered
from mainspring.data.part_files import read_done
from mainspring.data.plan import Plan
from mainspring.data.work import CHECK
from mainspring.errors import DocumentError

REPORT = "report.json"


class ClusterReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of sameness found: `sizes` counts clusters by their documents, `largest` names the kept ones."""

    clusters: int
    documents: int
    sizes: dict[str, int]
    largest: dict[str, int]


class PassageReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many passages stood there before, and the documents with the first of those that are repeated most."""

    repeated: int = 0
    most: dict[str, int] = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came in, what each step did, what was found twice, and what came out.

    Bytes are those of texts in UTF-8.
    """

    documents: int
    bytes: int
    sources: dict[str, SourceCounts]
    steps: dict[str, StepCounts]
    clusters: dict[str, ClusterReport]
    passages: PassageReport
    splits: dict[str, SourceCounts]


class StageTime(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage took this process, from its start or from where it went on; `bytes` are those it saw."""

    stage: str
    seconds: float
    bytes: int

    @property
    def mb_per_s(self) -> float:
        return self.bytes / 1e6 / self.seconds if self.seconds else 0.0


def add_up(folders: Iterable[Path]) -> Counts:
    """The counts of all parts, in order."""
    total = Counts()
    for folder in folders:
        total.add(read_done(folder).counts)
    return total


def make_report(plan: Plan, counts: Counts, found: Found, numbered: Numbered) -> Report:
    """Bring counts into the order of the steps, and numbers to ids.

    Raises:
        DocumentError: nothing is left to be a dataset.

    """
    names = [READ, *(called for called, _, _ in plan.steps), CHECK, *same.WHOLE, same.SPANS, Contaminate.name]
    steps = {name: counts.steps[name] for name in names if name in counts.steps}
    documents = sum(split.documents for split in counts.splits.values())
    if not documents:
        raise DocumentError(_nothing_left(counts.sources, steps))
    return Report(
        documents=documents,
        bytes=sum(split.bytes for split in counts.splits.values()),
        sources=counts.sources,
        steps=steps,
        clusters={kind: _named(clusters, numbered) for kind, clusters in found.clusters.items()},
        passages=PassageReport(
            repeated=found.passages,
            most={numbered.id_of(each.document): each.times for each in found.repeated},
        ),
        splits={name: counts.splits[name] for name in plan.recipe.split.names() if name in counts.splits},
    )


def _named(clusters: Clusters, numbered: Numbered) -> ClusterReport:
    largest = {numbered.id_of(each.kept): each.documents for each in clusters.largest}
    return ClusterReport(
        clusters=clusters.clusters, documents=clusters.documents, sizes=clusters.sizes, largest=largest
    )


def _nothing_left(sources: Mapping[str, SourceCounts], steps: Mapping[str, StepCounts]) -> str:
    came = sum(source.documents + source.unreadable for source in sources.values())
    lines: Sequence[str] = [
        f"{name} dropped {num_dropped(step):,} ({', '.join(step.dropped)})"
        for name, step in steps.items()
        if step.dropped
    ]
    return (
        f"No document is left of the {came:,} that came in: {'; '.join(lines) or 'the sources gave none'}. Change "
        "the sources or the rules."
    )
