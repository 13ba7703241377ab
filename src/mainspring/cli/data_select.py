"""mainspring data select: the documents that are worth to be labelled or learnt next."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.cli.data_shard import dataset_reference
from mainspring.errors import UserError

if TYPE_CHECKING:
    from mainspring.app import Workspace
    from mainspring.artifact import Artifact
    from mainspring.data.document import Document
    from mainspring.data.scores import Score

MAX_SHOWN = 5


def select(
    dataset: Annotated[str, typer.Argument(help="A dataset of documents: NAME, or dataset/NAME@VERSION.")],
    scores: Annotated[
        Path | None, typer.Option("--scores", help="JSON lines: id, probabilities or nll, vector, labelled.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="Without a file: the model whose loss on each document is its nll.")
    ] = "",
    is_embedded: Annotated[
        bool, typer.Option("--embed", help="Let the workspace's embedder give the vectors that are missing.")
    ] = False,
    count: Annotated[int | None, typer.Option("-n", min=1, help="How many; 100 if not told.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="uncertainty, diversity or both.")] = None,
    name: Annotated[str, typer.Option("--name", help="Of the new dataset; NAME-selected if none.")] = "",
    only_ids: Annotated[
        bool, typer.Option("--ids", help="Print the ids alone, and make no dataset.")
    ] = False,
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Choose documents by a model's scores: the least sure, the most diverse, or both."""
    from mainspring.data.scores import gather
    from mainspring.data.select import SelectConfig, choose, select_dataset

    if scores is None and not model and not is_embedded:
        raise UserError(
            "Give what documents are chosen by: --scores FILE, --model NAME, or --embed for diversity."
        )
    told = [f"{key}={value}" for key, value in (("count", count), ("by", by)) if value is not None]
    config = load_config(SelectConfig, files, [*(settings or ()), *told])
    with open_workspace(workspace) as opened:
        source = opened.registry.get(dataset_reference(dataset), verify=True)
        scored = gather(_scores(opened, source, scores, model, is_embedded=is_embedded), config.measure)
        if only_ids:
            chosen = [scored.ids[index] for index in choose(scored, config)]
            show.result({"ids": chosen}) if as_json else print("\n".join(chosen))
            return
        made, ids = select_dataset(
            opened.registry, source, scored, config, name=name or f"{source.name}-selected"
        )
        folder = opened.registry.folder(made)
    if as_json:
        show.result({"dataset": made.reference, "ids": ids, "folder": folder})
        return
    first = ", ".join(ids[:MAX_SHOWN]) + (
        f" and {len(ids) - MAX_SHOWN:,} more" if len(ids) > MAX_SHOWN else ""
    )
    show.table(
        [["dataset", made.reference], ["documents", f"{len(ids):,} of {len(scored.ids):,}"], ["first", first]]
    )
    show.end(workspace, folder, f"data doctor {made.name}", f"data shard {made.name} --tokenizer NAME")


def _scores(
    workspace: "Workspace", dataset: "Artifact", path: Path | None, model: str, *, is_embedded: bool
) -> "Iterator[Score]":
    """Scores from a file or a model, with vectors of the embedder where they have none and it is asked for."""
    from mainspring.data.scores import Score, read_scores

    if path is not None:
        found = list(read_scores(path))
    elif model:
        found = [Score(id=each, nll=nll) for each, nll in _losses(workspace, dataset, model)]
    else:
        found = [Score(id=document.id) for document in _documents(workspace, dataset)]
    yield from _with_vectors(workspace, dataset, found) if is_embedded else found


def _losses(workspace: "Workspace", dataset: "Artifact", name: str) -> "Iterator[tuple[str, float]]":
    from mainspring.models.load import load
    from mainspring.tokenizer.base import Tokenizer
    from mainspring.train.document_nll import document_nll

    registry = workspace.registry
    folder = registry.folder(registry.get(name if "/" in name else f"model/{name}", verify=True))
    return document_nll(load(folder), Tokenizer.load(folder), _documents(workspace, dataset))


def _with_vectors(
    workspace: "Workspace", dataset: "Artifact", scores: "Sequence[Score]"
) -> "Iterator[Score]":
    import msgspec

    bare = {score.id for score in scores if not score.vector}
    texts = {each.id: _text(each) for each in _documents(workspace, dataset) if each.id in bare}
    vectors = dict(zip(texts, workspace.embedder.embed(list(texts.values())), strict=True))
    for score in scores:
        is_bare = score.id in vectors
        yield msgspec.structs.replace(score, vector=vectors[score.id].tolist()) if is_bare else score


def _documents(workspace: "Workspace", dataset: "Artifact") -> "Iterator[Document]":
    from mainspring.data.document import read_documents
    from mainspring.data.shard_dataset import document_files

    files = document_files(workspace.registry.folder(dataset), dataset.reference)
    return (document for each in files.values() for file in each for document in read_documents(file))


def _text(document: "Document") -> str:
    messages = document.meta.get("messages") or []
    return document.text or "\n".join(str(message.get("content", "")) for message in messages)
