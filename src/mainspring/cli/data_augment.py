"""mainspring data augment: new documents from those of a dataset."""

from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import (
    DEFAULT,
    AsJson,
    Files,
    Settings,
    WorkspacePath,
    load_config,
    need_model,
    open_workspace,
)
from mainspring.cli.data_shard import dataset_reference


def augment(
    dataset: Annotated[str, typer.Argument(help="A dataset of documents: NAME, or dataset/NAME@VERSION.")],
    kind: Annotated[str | None, typer.Option("--kind", help="mask, counterfactual or paraphrase.")] = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="New documents for each one; 1 if not told.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="The chat model that paraphrases.")] = "smollm2",
    name: Annotated[str, typer.Option("--name", help="Of the new dataset; NAME-KIND if none.")] = "",
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Make new documents: masked, with paired terms exchanged, or said in other words by a model."""
    from mainspring.data.augment.dataset import AugmentConfig, augment_dataset, make_augmenter

    told = [f"{key}={value}" for key, value in (("kind", kind), ("copies", count)) if value is not None]
    config = load_config(AugmentConfig, files, [*(settings or ()), *told])
    with open_workspace(workspace) as opened:
        source = opened.registry.get(dataset_reference(dataset), verify=True)
        chat, reference = None, ""
        if config.kind == "paraphrase":
            need_model(opened, model, "paraphrases")
            reference = opened.registry.get(f"model/{model}").reference
            chat = opened.chat_model(reference)
        made, counts = augment_dataset(
            opened.registry, source, make_augmenter(config, chat), config,
            name=name or f"{source.name}-{config.kind}", model=reference,
        )  # fmt: skip
        folder = opened.registry.folder(made)
    if as_json:
        show.result({"dataset": made.reference, "documents": counts, "folder": folder})
        return
    show.table([["dataset", made.reference], ["of", source.reference], ["made", counts["made"]]])
    for reason, number in counts.items():
        if reason != "made":
            print(f"not made: {number:,} documents, {reason}")
    show.end(workspace, folder, f"data doctor {made.name}", f"data shard {made.name} --tokenizer NAME")
