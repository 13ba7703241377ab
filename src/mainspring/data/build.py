"""A recipe to a dataset: a run of four stages that may be killed at any moment and goes on from there.

    read        RUN/read/KEY/      documents, decisions and signatures of a part; in the workers
    duplicates  RUN/PLAN/same/     which documents and passages go, over all parts
    finish      RUN/PLAN/parts/N/  documents by split, and decisions; in the workers
    publish     dataset/NAME@VERSION

Every folder is there as a whole or not at all, and holds the same whoever made it. So the dataset is the same
to the byte for any number of workers, for parts of any size and after any number of kills.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import msgspec

from mainspring.artifact import Artifact
from mainspring.data import build_run
from mainspring.data.counts import Counts, bytes_seen
from mainspring.data.duplicates import Duplicates, Found, find
from mainspring.data.executors import base as executors
from mainspring.data.executors.base import Executor
from mainspring.data.finish import FinishPart, Stretch
from mainspring.data.numbered import Numbered
from mainspring.data.part_files import read_done
from mainspring.data.plan import Plan
from mainspring.data.publish import publish
from mainspring.data.recipe import Recipe
from mainspring.data.report import Report, StageTime, add_up, make_report
from mainspring.data.work import ReadPart
from mainspring.errors import MainspringError
from mainspring.progress import bar, say
from mainspring.registry import Registry
from mainspring.runs import Runs

T = TypeVar("T")


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset and how it was made.

    `is_new` is false where the same version was there already. `stages` is what this process took, `seconds`
    the time of one processor that went into each step, killed sessions included.
    """

    dataset: Artifact
    is_new: bool
    run: str
    report: Report
    stages: list[StageTime]
    seconds: dict[str, float]


def build_dataset(
    registry: Registry, runs: Runs, recipe: Recipe | None, *, resume: str | None = None, accept: bool = False
) -> Built:
    """Make the dataset of a recipe, or go on making it.

    An unfinished run of the same recipe over the same sources is gone on with, unasked.

    Args:
        registry: where the dataset goes.
        runs: where the work is written down.
        recipe: what to make; None to take that of the run to resume.
        resume: the run to go on with.
        accept: go on although recipe or sources are not the same; what they decide is made again.

    Raises:
        ConfigError: a recipe that cannot be followed, or one that is not that of the run.
        MainspringError: a worker failed; what is finished is kept.

    """
    with build_run.opened(runs, registry, recipe, resume=resume, accept=accept) as (run, plan):
        folder = runs.folder(run.id)
        with closing(executors.make(plan.recipe.executor)) as executor:
            built = _Session(plan, folder, executor).make(registry, run.id)
        runs.end(run.id, "done", {"dataset": built.dataset.reference, "stages": built.stages})
    build_run.clean(folder)
    return built


class _Session:
    """One process's work on a build."""

    def __init__(self, plan: Plan, folder: Path, executor: Executor) -> None:
        self._plan, self._executor = plan, executor
        self._read = folder / build_run.READ
        self._planned = folder / plan.fingerprint[:16]
        self._stages: list[StageTime] = []

    def make(self, registry: Registry, run_id: str) -> Built:
        read = self._read_parts()
        counts = add_up(read)
        stretches = _stretches(self._plan, read)
        found = self._find(read, stretches, counts)
        finished = self._finish_parts(stretches, found)
        counts.add(add_up(finished))
        numbered = Numbered(read, [stretch.first for stretch in stretches])
        report = make_report(self._plan, counts, found, numbered)
        began = time.monotonic()
        dataset, is_new = publish(registry, self._plan, report, read, finished)
        self._note("publish", began, report.bytes)
        return Built(
            dataset=dataset, is_new=is_new, run=run_id, report=report, stages=self._stages, seconds=counts.seconds
        )  # fmt: skip

    def _read_parts(self) -> list[Path]:
        plan = self._plan
        work = ReadPart(self._read, plan.feeds, plan.steps, plan.kinds, plan.recipe.samples)
        folders = [self._read / task.key for task in plan.tasks]
        self._map("read", work, plan.tasks, folders)
        return folders

    def _find(self, read: Sequence[Path], stretches: Sequence[Stretch], counts: Counts) -> Found:
        began, kinds = time.monotonic(), self._plan.kinds
        if kinds:
            self._executor.rest()  # finding has the memory to itself
            say(f"looking for what stands there twice: {', '.join(kinds)}")
        documents = [stretch.documents for stretch in stretches]
        found = find(kinds, read, documents, self._planned / "same")
        self._note("duplicates", began, bytes_seen(counts))
        return found

    def _finish_parts(self, stretches: Sequence[Stretch], found: Found) -> list[Path]:
        plan, target = self._plan, self._planned / "parts"
        work = FinishPart(
            read=self._read, folder=target, stretches=stretches, kinds=plan.kinds, contaminate=plan.contaminate,
            duplicates=Duplicates(self._planned / "same", list(found.clusters)), split=plan.recipe.split,
            samples=plan.recipe.samples,
        )  # fmt: skip
        folders = [target / str(stretch.number) for stretch in stretches]
        self._map("finish", work, stretches, folders)
        return folders

    def _map(
        self, stage: str, work: Callable[[T], None], tasks: Sequence[T], folders: Sequence[Path]
    ) -> None:
        """Do the tasks whose folders are not there yet."""
        began, num_bytes = time.monotonic(), 0
        todo = [number for number, folder in enumerate(folders) if not folder.exists()]
        if len(todo) < len(tasks):
            say(f"{stage}: {len(tasks) - len(todo):,} of {len(tasks):,} parts are there already")
        answers = self._executor.map(work, [tasks[number] for number in todo])
        with bar(stage, len(todo), "parts") as advance, closing(answers):
            for index, _ in answers:
                num_bytes += _bytes_of(folders[todo[index]])
                advance(1)
        self._note(stage, began, num_bytes)

    def _note(self, stage: str, began: float, num_bytes: int) -> None:
        self._stages.append(StageTime(stage=stage, seconds=time.monotonic() - began, bytes=num_bytes))


def _stretches(plan: Plan, read: Sequence[Path]) -> list[Stretch]:
    """Every part with the number of its first document."""
    stretches, first = [], 0
    for number, (task, folder) in enumerate(zip(plan.tasks, read, strict=True)):
        documents = read_done(folder).documents
        stretches.append(Stretch(number=number, key=task.key, first=first, documents=documents))
        first += documents
    return stretches


def _bytes_of(folder: Path) -> int:
    """Bytes of text that a finished part has seen."""
    try:
        return bytes_seen(read_done(folder).counts)
    except FileNotFoundError:
        raise MainspringError(
            f"A worker on another machine left {folder}, and it is not seen here. The workspace must lie on a file "
            "system that all machines of the cluster share, under the same path."
        ) from None
