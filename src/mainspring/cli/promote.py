"""mainspring promote: what answers in production, and the way back."""

from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, WorkspacePath, find_assistant, open_workspace, production
from mainspring.errors import UserError


def promote(
    reference: Annotated[
        str | None, typer.Argument(metavar="[REFERENCE]", help="assistant/mainspring@VERSION.")
    ] = None,
    back: Annotated[
        bool, typer.Option("--rollback", help="Back to the version that was in production before.")
    ] = False,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Let an assistant that passed the gate answer in production; running servers take it at once."""
    if (reference is None) != back:
        raise UserError("Give either a REFERENCE (assistant/mainspring@VERSION) or --rollback.")
    from mainspring.app import ASSISTANT, PRODUCTION
    from mainspring.flywheel import promote as room

    with open_workspace(workspace) as opened:
        version = opened.registry.labelled("assistant", ASSISTANT, PRODUCTION)
        before = f"assistant/{ASSISTANT}@{version}" if version else None
        if reference is None:
            production(opened)
            promoted = room.rollback(opened)
            reason = "rolled back"
        else:
            promoted = find_assistant(opened, reference).reference
            reason = room.promote(opened, promoted)
        spec = opened.spec(promoted)
    if as_json:
        show.result(
            {"promoted": promoted, "before": before, "reason": reason, "assistant": spec.model_dump()}
        )
        return
    parts = [(name, value) for name, value in spec.parents().items()]
    show.table([["production", promoted], ["before", before], ["because", reason], *parts])
    show.end(workspace, workspace / "artifacts" / "assistant", 'ask "QUESTION"', "promote --rollback")
