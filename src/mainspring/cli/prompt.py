"""mainspring prompt: prompts that clients of the server use by their names."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, WorkspacePath, load_config, open_workspace
from mainspring.errors import UserError

app = typer.Typer(help="Prompts that clients of the server use by their names.", no_args_is_help=True)


@app.callback()
def prompt() -> None:
    """Prompts that clients of the server use by their names."""


@app.command("save")
def save(
    name: Annotated[str, typer.Argument(help="The name by which clients ask for it.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON with `messages`.")],
    label: Annotated[
        str | None, typer.Option("--label", help="A label that this version bears from now on: production.")
    ] = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Keep a prompt as the next version of its name; running servers take it at once."""
    from mainspring.prompts.chat_prompt import ChatPrompt, is_chat_prompt

    for word, given in (("NAME", name), ("--label", label)):
        if given is not None and not re.fullmatch(r"(?![0-9]+$)[a-zA-Z0-9_-]{1,64}", given):
            raise UserError(
                f"{word} is '{given}'; it must be up to 64 letters, digits, '_' and '-', and no number alone."
            )
    config = load_config(ChatPrompt, [file], None)
    with open_workspace(workspace) as opened:
        taken = f"prompt/{name}"
        if opened.registry.has(taken) and not is_chat_prompt(opened.registry.get(taken)):
            raise UserError(f"{taken} is a prompt of the assistant; choose another NAME.")
        made = opened.save("prompt", name, config.model_dump(mode="json"), {})
        if label is not None:
            opened.registry.label(made, label, "saved")
        folder = opened.registry.folder(made)
    variables = config.placeholders()
    if as_json:
        show.result({"prompt": made.reference, "label": label, "variables": variables, "folder": folder})
        return
    filled = {"variables": dict.fromkeys(variables, "...")} if variables else {}
    said = json.dumps({"id": name, "version": label or str(made.version)} | filled)
    show.table([["prompt", made.reference], ["label", label], ["a response's `prompt`", said]])
    show.end(workspace, folder, "serve")
