"""What the verbs share: their common options, the workspace they open, the questions they read."""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mainspring.errors import MainspringError, NotFoundError, UserError

if TYPE_CHECKING:
    from mainspring.app import Workspace
    from mainspring.artifact import Artifact
    from mainspring.config import Config
    from mainspring.evaluate.gold import Gold
    from mainspring.infer.request import EngineConfig
    from mainspring.schema import Reply

VARIABLE = "MAINSPRING_WORKSPACE"
DEFAULT = Path("workspace")

WorkspacePath = Annotated[
    Path, typer.Option("--workspace", envvar=VARIABLE, help="The folder that holds a model's life.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Files = Annotated[
    list[Path] | None,
    typer.Option("-c", "--config", metavar="FILE", help="A YAML file of settings; later ones win."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("-o", "--option", metavar="KEY=VALUE", help="One setting, by its dotted key."),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run, as `mainspring runs list` shows them.")]
GoldFile = Annotated[
    Path, typer.Option("--gold", help="Questions with known answers, as JSON lines; the held-out ones count.")
]
AnyAssistant = Annotated[
    str | None,
    typer.Argument(metavar="[ASSISTANT]", help="assistant/NAME@VERSION; the one in production if none."),
]

C = TypeVar("C", bound="Config")


def open_workspace(path: Path, *, begin: bool = False, engine: "EngineConfig | None" = None) -> "Workspace":
    """Open the workspace at `path`; only verbs that begin one make it where there is none.

    `engine` says how its models are run, where that is not as usual.

    Raises:
        NotFoundError: nothing is there.
        UserError: what is there is no folder.
        MainspringError: the disk or the database says no.

    """
    from mainspring.app import Workspace

    if path.exists() and not path.is_dir():
        raise UserError(f"The workspace {path} is not a folder. Give one with --workspace.")
    if not begin and not (path / "mainspring.db").exists():
        raise NotFoundError(
            f"There is no workspace at {path}. Begin one with `mainspring fetch`, or give another with "
            f"--workspace or {VARIABLE}."
        )
    try:
        return Workspace(path, engine=engine)
    except (OSError, sqlite3.Error) as error:
        raise MainspringError(
            f"The workspace {path} cannot be opened: {error}. Check its permissions and the free disk space."
        ) from error


def load_config(kind: type[C], files: list[Path] | None, settings: list[str] | None) -> C:
    """The settings of a verb from -c and -o."""
    from mainspring import config

    return config.load(kind, files or (), settings or ())


def need_model(workspace: "Workspace", name: str, why: str) -> None:
    """Raise NotFoundError, with what to do, where a model is not there."""
    if not workspace.registry.has(f"model/{name}"):
        raise NotFoundError(f"The model '{name}' {why}, and is not here yet. Run `mainspring fetch {name}`.")


def find_assistant(workspace: "Workspace", reference: str) -> "Artifact":
    """The assistant artifact of a reference."""
    found = workspace.registry.get(reference)
    if found.kind != "assistant":
        raise UserError(
            f"{found.reference} is not an assistant; write assistant/NAME@VERSION. There is "
            f"{', '.join(workspace.registry.list('assistant')) or 'none yet'}."
        )
    return found


def production(workspace: "Workspace") -> "Artifact":
    """The assistant in production."""
    from mainspring.app import ASSISTANT, IN_PRODUCTION, PRODUCTION

    if workspace.registry.labelled("assistant", ASSISTANT, PRODUCTION) is None:
        raise NotFoundError(
            f"No assistant is in production in {workspace.root}. Run `mainspring fetch`, then `mainspring "
            "index FOLDER` or `mainspring index --packages`: that makes the first one."
        )
    return workspace.registry.get(IN_PRODUCTION)


def held_out(gold: Path) -> "list[Gold]":
    """The questions of a file that nothing may be learnt from."""
    from mainspring.evaluate.gold import read_gold

    items = [item for item in read_gold(gold) if item.split == "heldout"]
    if not items:
        raise UserError(f'{gold} has no held-out questions; add some with "split": "heldout".')
    return items


def ask_held_out(
    workspace: "Workspace", reference: str | None, items: "list[Gold]"
) -> "tuple[Artifact, list[tuple[Gold, Reply]]]":
    """All questions put to an assistant, that in production if none is named."""
    from mainspring.evaluate.answers import ask_all
    from mainspring.progress import bar

    artifact = find_assistant(workspace, reference) if reference else production(workspace)
    model = workspace.assistant(artifact.reference)
    with bar("ask", len(items), "questions") as advance:
        return artifact, ask_all(model, items, advance=advance)
