"""mainspring data peek --tokens: every token of a dataset's shards, as they lie or as a loader packs them."""

from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import (
    DEFAULT,
    AsJson,
    Files,
    Settings,
    WorkspacePath,
    load_config,
    open_workspace,
)
from mainspring.cli.data_shard import dataset_reference
from mainspring.errors import UserError

if TYPE_CHECKING:
    from rich.text import Text

    from mainspring.app import Workspace
    from mainspring.data.peek_tokens import PeekedSegment, PeekedToken
    from mainspring.data.shards import Shards

STYLES = {"trained": "green", "context": "bright_black"}


def peek_tokens(
    datasets: Annotated[list[str], typer.Argument(help="Datasets of token shards; several are mixed.")],
    split: Annotated[str, typer.Option("--split", help="Which part of them.")] = "train",
    first: Annotated[int, typer.Option("--segment", min=0, help="The first segment to show.")] = 0,
    count: Annotated[int, typer.Option("--count", min=1, help="How many segments, or rows.")] = 1,
    document: Annotated[str, typer.Option("--document", help="Show the segments of this document.")] = "",
    is_packed: Annotated[
        bool, typer.Option("--packed", help="Show rows as training gets them; -c and -o are the loader's.")
    ] = False,
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Print every token with its weight, segment and document."""
    if not is_packed and (len(datasets) > 1 or files or settings):
        raise UserError("Several datasets, -c and -o are for --packed: they say how a loader packs rows.")
    with open_workspace(workspace) as opened:
        if is_packed:
            segments, facts = _packed(opened, datasets, split, count, files, settings)
        else:
            segments, facts = _as_written(opened, datasets[0], split, first, count, document)
    if as_json:
        show.result({**facts, "segments": segments})
        return
    _print(segments)
    print()
    show.table([[name.replace("_", " "), _tell(value)] for name, value in facts.items()])


def _as_written(
    workspace: "Workspace", name: str, split: str, first: int, count: int, document: str
) -> "tuple[list[PeekedSegment], dict[str, object]]":
    from mainspring.data import peek_tokens as peek
    from mainspring.data.shard_dataset import open_shards, tokenizer_of

    dataset = workspace.registry.get(dataset_reference(name))
    shards = open_shards(workspace.registry, dataset, split)
    tokenizer = tokenizer_of(workspace.registry, dataset, shards)
    if document:
        indices = shards.find(document)
    else:
        indices = list(range(first, max(first + 1, min(first + count, shards.num_segments))))
    facts: dict[str, object] = {
        "dataset": dataset.reference, "split": split, "total_segments": shards.num_segments,
        "total_tokens": shards.num_tokens, "total_trained": shards.trained_tokens,
    }  # fmt: skip
    return list(peek.peek_tokens(shards, tokenizer, indices, dataset.reference)), facts


def _packed(
    workspace: "Workspace",
    names: list[str],
    split: str,
    count: int,
    files: Files,
    settings: Settings,
) -> "tuple[list[PeekedSegment], dict[str, object]]":
    from mainspring.data import peek_tokens as peek
    from mainspring.data.loader import Loader
    from mainspring.data.shard_dataset import open_shards, tokenizer_of
    from mainspring.data.window import LoaderConfig

    config = load_config(LoaderConfig, files, settings)
    found = {name: workspace.registry.get(dataset_reference(name)) for name in names}
    shards: dict[str, Shards] = {
        name: open_shards(workspace.registry, each, split) for name, each in found.items()
    }
    tokenizer = tokenizer_of(workspace.registry, found[names[0]], shards[names[0]])
    loader = Loader(shards, config)
    segments = list(peek.peek_rows(loader, tokenizer, count))
    packing = loader.measure()
    facts: dict[str, object] = {
        "split": split, "loader": loader.fingerprint, "window_rows": packing.rows, "window_tokens": packing.tokens,
        "utilization": packing.utilization, "passes": packing.passes,
    }  # fmt: skip
    return segments, facts


def _print(segments: "list[PeekedSegment]") -> None:
    """One token a line; in colors on a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    row = None
    for segment in segments:
        if segment.row is not None and segment.row != row:
            row = segment.row
            console.print(Text(f"row {row}", style="bold"), soft_wrap=True)
        tail = f", from id {segment.offset:,}" if segment.offset else ""
        head = f"segment {segment.segment:,}  {segment.document}{tail}  {segment.dataset}"
        counts = f"  {len(segment.tokens):,} tokens, {segment.num_trained:,} trained"
        console.print(Text(head + counts, style="bold"), soft_wrap=True)
        for number, token in enumerate(segment.tokens):
            console.print(_line(number, token), soft_wrap=True)


def _line(number: int, token: "PeekedToken") -> "Text":
    from rich.text import Text

    style = STYLES["trained" if token.weight and number else "context"]
    return Text(f"{number:>6} {token.id:>7} {token.weight:>4g}  {token.text!r}", style=style)


def _tell(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{number:.2f} of {name}" for name, number in value.items())
    return f"{value:.2%}" if isinstance(value, float) else value
