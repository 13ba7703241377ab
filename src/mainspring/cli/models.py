"""mainspring models: what there is, what it costs, how it is built, in which format it lies."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show, vectors
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.cli.texts import Paths, read_texts
from mainspring.errors import UserError

if TYPE_CHECKING:
    from mainspring.models.attempt import Said
    from mainspring.models.config import ModelConfig
    from mainspring.models.describe import Description

app = typer.Typer(help="List, describe, draw, try, convert and remember with models.", no_args_is_help=True)
app.add_typer(vectors.app, name="vectors")

What = Annotated[
    str,
    typer.Argument(help="A model's name or reference, or the path of a folder, a .gguf or a config.json."),
]


@app.callback()
def models() -> None:
    """List, describe, draw, try, convert and remember with models."""


@app.command("list")
def list_models(
    families: Annotated[bool, typer.Option("--families", help="The families that are built here.")] = False,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """The models of the workspace, or the families that are known."""
    if families:
        from mainspring.models.families.base import FAMILIES, summary

        rows = [{"family": name, "what": summary(name)} for name in FAMILIES]
    else:
        with open_workspace(workspace) as opened:
            found = [opened.registry.get(reference) for reference in opened.registry.list("model")]
        rows = [
            {
                "model": each.reference,
                **{key: each.config.get(key) for key in ("family", "context", "generates")},
                "bytes": sum(file.size_bytes for file in each.files.values()),
            }
            for each in found
        ]
    if as_json:
        show.result(rows)
        return
    show.table([list(row.values()) for row in rows], list(rows[0]) if rows else ())


@app.command("describe")
def describe_model(
    what: What,
    at_tokens: Annotated[
        int | None, typer.Option("--at", min=1, help="Tokens before the one whose work is counted.")
    ] = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Parameters by part, memory, cache and work of a token, with the formulas."""
    from mainspring.models.describe import describe

    said = describe(_config(what, workspace), at_tokens=at_tokens)
    if as_json:
        show.result(said)
    else:
        _print(said)


@app.command("draw")
def draw_model(
    what: What,
    to: Annotated[Path, typer.Option("--to", help="The SVG file to write.")] = Path("model.svg"),
    workspace: WorkspacePath = DEFAULT,
) -> None:
    """One SVG of what a token goes through."""
    from mainspring.models.draw import draw

    to.write_text(draw(_config(what, workspace)), encoding="utf-8")
    show.end(workspace, to, f"models describe {what}")


@app.command("try")
def try_model(
    what: What,
    text: Annotated[str, typer.Argument(help="What the model is given.")],
    memory: Annotated[
        Path | None, typer.Option("--memory", help="A folder that `models remember` wrote, to vote on words.")
    ] = None,
    files: Files = None,
    settings: Settings = None,
    max_tokens: Annotated[
        int, typer.Option("-n", "--max-tokens", min=1, help="Tokens to generate at most.")
    ] = 40,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Put a text through a model of any family: it goes on, answers, fills masks, labels or embeds it."""
    from mainspring.models.attempt import Attempt
    from mainspring.models.memory import MemorySettings

    if memory is None and (files or settings):
        raise UserError("-c and -o set how a memory votes; give one with --memory, or leave them out.")
    config = load_config(MemorySettings, files, settings)
    said = Attempt(_folder(what, workspace), memory, config).say(text, max_tokens)
    if as_json:
        show.result(said)
    else:
        _print_said(said)


@app.command("remember")
def remember_texts(
    what: What,
    paths: Paths,
    to: Annotated[Path, typer.Option("--to", help="A new folder for the memory.")],
    workspace: WorkspacePath = DEFAULT,
) -> None:
    """Give a language model a memory of documents: every context, and the word that followed it."""
    from mainspring.models.attempt import Attempt
    from mainspring.models.memory import remember
    from mainspring.progress import bar

    attempt = Attempt(_folder(what, workspace))
    texts = [text for _, text in read_texts(paths)]
    with bar("remember", len(texts), "documents") as advance:
        count = remember(attempt.model, attempt.tokenizer, texts, to, advance=advance)
    show.table([["contexts", count], ["size", f"{count * attempt.model.config.width * 4 / 1e6:,.1f} MB"]])
    show.end(workspace, to, f'models try {what} "TEXT" --memory {to}')


@app.command("convert")
def convert_model(
    what: What,
    folder: Annotated[Path, typer.Argument(help="A new folder for the published layout.")],
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")] = "float32",
    workspace: WorkspacePath = DEFAULT,
) -> None:
    """Write a model as config.json, safetensors and tokenizer files that others read as well."""
    from mainspring.models.convert import convert

    if folder.exists():
        raise UserError(f"{folder} exists already. Name a new folder, or remove it first.")
    size_bytes = convert(_source(what, workspace), folder, dtype)
    show.table([["written", f"{size_bytes / 1e6:,.1f} MB"], ["dtype", dtype]])
    show.end(workspace, folder, f"models describe {folder}", f"fetch NAME --from {folder}")


def _source(what: str, workspace: Path) -> Path:
    """A path as it is, or the folder of a model in the workspace."""
    if Path(what).exists():
        return Path(what)
    with open_workspace(workspace) as opened:
        return opened.registry.folder(opened.registry.get(what if "/" in what else f"model/{what}"))


def _folder(what: str, workspace: Path) -> Path:
    source = _source(what, workspace)
    if not source.is_dir():
        raise UserError(
            f"{source} is no folder in the published layout. Make one: mainspring models convert."
        )
    return source


def _config(what: str, workspace: Path) -> "ModelConfig":
    from mainspring.models.load import read_json, understand
    from mainspring.models.published import find

    source = _source(what, workspace)
    if source.suffix == ".json":
        return understand(read_json(source), source)
    if (source / "config.json").exists():
        return understand(read_json(source / "config.json"), source)
    return find(source).config


def _print(said: "Description") -> None:
    from mainspring.models.describe import CACHE_FORMULA, MEMORY_FORMULA, WORK_FORMULA

    kinds = ", ".join(f"{count} x {kind}" for kind, count in said.kinds.items())
    show.table(
        [
            ["family", said.family],
            ["layers", f"{said.layers} ({kinds})"],
            ["context", f"{said.context:,} tokens"],
            ["parameters", f"{said.parameters:,}; a token reaches {said.active_parameters:,}"],
            *(
                [f"  {part}", f"{count:,} ({count / said.parameters:.1%})"]
                for part, count in said.parts.items()
            ),
            [
                "weights",
                ", ".join(f"{size / 1e6:,.1f} MB {name}" for name, size in said.memory_bytes.items()),
            ],
            ["", MEMORY_FORMULA],
            [
                "cache",
                ", ".join(f"{size:,} bytes {name}" for name, size in said.cache_bytes.items()) + " a token",
            ],
            ["", CACHE_FORMULA],
            ["state", f"{said.state_bytes:,} bytes a sequence"],
            ["work", f"{said.work_flops / 1e9:,.3f} GFLOP a token behind {said.at_tokens:,} others"],
            ["", WORK_FORMULA],
        ]
    )


def _print_said(said: "Said") -> None:
    if said.kind == "lm":
        print(said.text)
        return
    show.table(
        [
            [what, ", ".join(f"{name} {value:.3f}" for name, value in choices.items())]
            for what, choices in said.rows
        ]
    )
