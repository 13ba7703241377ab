"""mainspring serve: the HTTP door and the chat page."""

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli.base import DEFAULT, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.errors import NotFoundError

if TYPE_CHECKING:
    from mainspring.app import Workspace
    from mainspring.infer.request import EngineConfig


def serve(
    host: Annotated[str, typer.Option(help="Address to serve on; others than loopback need a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to serve on; 0 takes a free one.")] = 8360,
    model: Annotated[
        Path | None,
        typer.Option(
            help="A model to serve besides those of the workspace: a folder, a .gguf file or a wheel."
        ),
    ] = None,
    workspace: WorkspacePath = DEFAULT,
    config: Files = None,
    option: Settings = None,
) -> None:
    """Serve the assistant and the plain model over HTTP, with a chat page, until Ctrl+C.

    MAINSPRING_API_KEY is the key that clients must send; without it only this machine is served.
    """
    from mainspring.infer import spare
    from mainspring.serve.settings import ServeSettings

    settings = load_config(ServeSettings, config, option)
    if settings.engine.isolate:
        spare.prepare()
    from mainspring.directory import Door
    from mainspring.gateway.keys import Keys
    from mainspring.gateway.pipeline import Pipeline
    from mainspring.serve.door import create
    from mainspring.serve.run import serve as run

    with open_workspace(workspace, begin=model is not None, engine=settings.engine) as opened:
        named = None if model is None else _bring(opened, model)
        door = Door(opened)
        if not door.names():
            raise NotFoundError(f"There is no model to serve in {workspace}. Run `mainspring fetch`.")
        pipeline = Pipeline(door, opened.tracer, Keys.from_environment(), settings.aliases)
        run(
            create(pipeline, door, opened.feedback, drawer=opened.drawer, limits=settings.limits),
            host,
            port,
            prepare=lambda: (door.warm(*([named] if named else [])), _advise(settings.engine)),
            tls=settings.tls(),
        )
    typer.echo(f"stopped; traces and feedback are in {workspace / 'mainspring.db'}", err=True)


def _advise(engine: "EngineConfig") -> None:
    """Say how answers come faster, where that is to be had."""
    from mainspring.infer.native.build import NoCompilerError, find_compiler
    from mainspring.progress import say

    if engine.backend == "native":
        return
    with contextlib.suppress(NoCompilerError):
        find_compiler()
        say(
            "Answers are computed in fp32, as the model was trained. With weights of 8 bits they come several times "
            "as fast: -o engine.backend=native -o engine.isolate=true"
        )


def _bring(workspace: "Workspace", source: Path) -> str:
    """Make a model of the workspace of what the user named, once; its name there is the file's."""
    from mainspring.models.fetch import fetch

    name = re.sub(r"[^a-z0-9.-]+", "-", source.resolve().stem.lower()).strip("-.")
    return fetch(workspace.registry, name, source).name
