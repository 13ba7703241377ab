"""mainspring data shard: the documents of a dataset become token ids, once, for every run that learns from them."""

from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace

if TYPE_CHECKING:
    from mainspring.data.shard import ShardReport

HEADS = ["split", "segments", "tokens", "trained", "longest", "skipped"]


def shard(
    dataset: Annotated[str, typer.Argument(help="A dataset of documents: NAME, or dataset/NAME@VERSION.")],
    tokenizer: Annotated[str, typer.Option("--tokenizer", help="A tokenizer, or a model that has one.")],
    name: Annotated[str, typer.Option("--name", help="Of the new dataset; NAME-tokens if none.")] = "",
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Encode the documents of a dataset into token shards."""
    from mainspring.data.shard import ShardSettings
    from mainspring.data.shard_dataset import find_tokenizer, shard_dataset
    from mainspring.tokenizer.base import Tokenizer

    config = load_config(ShardSettings, files, settings)
    with open_workspace(workspace) as opened:
        registry = opened.registry
        documents = registry.get(dataset_reference(dataset), verify=True)
        source = find_tokenizer(registry, tokenizer)
        loaded = Tokenizer.load(registry.folder(source))
        made, reports = shard_dataset(
            registry, documents, source, loaded, config, name=name or f"{documents.name}-tokens"
        )
        folder = registry.folder(made)
    if as_json:
        show.result({"dataset": made.reference, "splits": reports, "folder": folder})
        return
    show.table(
        [["dataset", made.reference], ["documents", documents.reference], ["tokenizer", source.reference]]
    )
    print()
    show.table([_row(report) for report in reports], HEADS)
    for report in reports:
        for reason, count in report.reasons.items():
            print(f"skipped in {report.split}: {count:,} {reason}, the first is {_first(report, reason)}")
    show.end(
        workspace,
        folder,
        f"data peek --tokens {made.name}",
        f"train pretrain -o data.dataset={made.reference}",
    )


def dataset_reference(name: str) -> str:
    """The reference of a dataset that is named by its bare name or by a reference."""
    return name if "/" in name else f"dataset/{name}"


def _row(report: "ShardReport") -> list[object]:
    return [
        report.split, report.segments, report.tokens, report.trained_tokens, report.longest, report.num_skipped,
    ]  # fmt: skip


def _first(report: "ShardReport", reason: str) -> str:
    return next((each.document for each in report.skipped if each.reason.startswith(reason)), "further on")
