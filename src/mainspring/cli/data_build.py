"""mainspring data build: a recipe to a dataset, as a run that can be killed and gone on with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.errors import UserError

if TYPE_CHECKING:
    from mainspring.data.build import Built
    from mainspring.data.counts import StepCounts

STEP_HEADS = ["step", "documents", "dropped", "changed", "removed", "MB/s"]
REASON_HEADS = ["step", "reason", "fate", "documents", "share", "bytes"]


def build(
    files: Files = None,
    settings: Settings = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Go on with this run, with its recipe or another."),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Go on although recipe or sources are not the same.")
    ] = False,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of sources: read, clean, deduplicate, split."""
    _check_usage(files, settings, resume, accept=accept)
    from mainspring.data.build import build_dataset
    from mainspring.data.recipe import Recipe

    recipe = load_config(Recipe, files, settings) if files or settings else None
    with open_workspace(workspace, begin=True) as opened:
        built = build_dataset(opened.registry, opened.runs, recipe, resume=resume, accept=accept)
        folder = opened.registry.folder(built.dataset)
    if as_json:
        show.result({"folder": folder, **_as_dict(built)})
        return
    _print(built)
    name = built.dataset.name
    dropping = next((step for step, counts in built.report.steps.items() if counts.dropped), None)
    commands = [f"data peek {name} --rule {dropping}"] if dropping else []
    show.end(workspace, folder, f"data peek {name}", *commands, f"data shard {name} --tokenizer NAME")


def _check_usage(files: Files, settings: Settings, resume: str | None, *, accept: bool) -> None:
    if not files and not settings and resume is None:
        raise UserError(
            "Give a recipe with -c FILE: its name, sources and rules, as YAML. The page on data of the guide has one."
        )
    if resume is not None and settings and not files:
        raise UserError("-o changes a recipe given with -c; with --resume give both, or none of them.")
    if accept and resume is None:
        raise UserError("--accept is for --resume RUN: a new run has nothing to differ from.")


def _as_dict(built: "Built") -> dict[str, object]:
    return {
        "dataset": built.dataset.reference,
        "fingerprint": built.dataset.fingerprint,
        "is_new": built.is_new,
        "run": built.run,
        "report": built.report,
        "stages": [
            {"stage": each.stage, "seconds": each.seconds, "bytes": each.bytes, "mb_per_s": each.mb_per_s}
            for each in built.stages
        ],
        "seconds": built.seconds,
    }


def _print(built: "Built") -> None:
    report = built.report
    came = sum(source.documents for source in report.sources.values())
    came_bytes = sum(source.bytes for source in report.sources.values())
    unreadable = sum(source.unreadable for source in report.sources.values())
    show.table(
        [
            ["dataset", built.dataset.reference + ("" if built.is_new else ", as it was there already")],
            ["run", built.run],
            ["came in", f"{came:,} documents, {_size(came_bytes)}; {unreadable:,} could not be read"],
            ["came out", f"{report.documents:,} documents, {_size(report.bytes)}"],
        ]
    )
    print()
    show.table([_step_row(*each, built.seconds) for each in report.steps.items()], STEP_HEADS)
    reasons = [row for each in report.steps.items() for row in _reason_rows(*each)]
    if reasons:
        print()
        show.table(reasons, REASON_HEADS)
    _print_same(built)
    print()
    splits = report.splits.items()
    show.table(
        [[name, split.documents, _size(split.bytes)] for name, split in splits],
        ["split", "documents", "bytes"],
    )
    print()
    rows = [[each.stage, f"{each.seconds:.1f}", f"{each.mb_per_s:.1f}"] for each in built.stages]
    show.table(rows, ["stage", "seconds", "MB/s"])


def _print_same(built: "Built") -> None:
    report = built.report
    for kind, found in report.clusters.items():
        largest = max(found.largest.values(), default=0)
        print(
            f"\n{kind}: {found.clusters:,} clusters of {found.documents:,} documents, the largest of {largest:,}",
            end="",
        )
    if report.passages.repeated:
        print(f"\nspans: {report.passages.repeated:,} passages stood there before", end="")
    if report.clusters or report.passages.repeated:
        print()


def _step_row(name: str, step: "StepCounts", seconds: Mapping[str, float]) -> list[object]:
    from mainspring.data.counts import bytes_removed, num_changed, num_dropped

    took = seconds.get(name, 0.0)
    speed = f"{step.bytes / 1e6 / took:.1f}" if took else None
    return [name, step.documents, num_dropped(step), num_changed(step), _size(bytes_removed(step)), speed]


def _reason_rows(name: str, step: "StepCounts") -> list[list[object]]:
    fates = {"dropped": step.dropped, "changed": step.changed}
    return [
        [
            name, reason, fate, each.documents, f"{each.documents / max(1, step.documents):.1%}",
            _size(each.bytes_before - each.bytes_after),
        ]
        for fate, reasons in fates.items()
        for reason, each in reasons.items()
    ]  # fmt: skip


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB" if abs(num_bytes) >= 100_000 else f"{num_bytes:,} B"
