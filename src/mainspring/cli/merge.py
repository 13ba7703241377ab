"""mainspring merge: several models or adapters become one, if that is no worse than the best of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.errors import GateRefusedError, UserError

if TYPE_CHECKING:
    from mainspring.train.merge_run import MergeConfig, MergeReport


def merge(
    bake: Annotated[
        str | None,
        typer.Option(
            "--bake", metavar="ADAPTER", help="Put one adapter into the weights of its base instead."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the model that --bake makes.")] = None,
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Merge models or adapters by their weights, and judge the result; exit 3 if it is worse than a parent."""
    if bake is not None or name is not None:
        if bake is None or name is None or files or settings:
            raise UserError(
                "--bake ADAPTER and --name NAME go together, without -c and -o. Give both, or neither."
            )
        _bake(bake, name, workspace, as_json=as_json)
        return
    from mainspring.train.merge_run import MergeConfig
    from mainspring.train.merge_run import merge as run

    config = load_config(MergeConfig, files, settings)
    with open_workspace(workspace) as opened:
        report = run(opened.registry, config)
        folder = None if report.artifact is None else opened.registry.folder(report.artifact)
    made = None if report.artifact is None else report.artifact.reference
    if as_json:
        facts = {"best": report.best, "worse": report.worse, "segments": report.num_segments}
        show.result(
            {"merged": made, "nll": report.nll, **facts, "tokens": report.num_tokens, "folder": folder}
        )
    else:
        _print(report, config)
        if made is not None:
            show.end(
                workspace, folder, f"models describe {made}" if made.startswith("model/") else "models list"
            )
    if made is None:
        raise GateRefusedError(
            f"{config.name} is {report.worse:.4f} nats a token worse than {report.best}, more than `max_worse` "
            f"({config.max_worse}), and was not kept. Change `method` or the parents' weights, or allow it with "
            f"-o max_worse={max(0.0, report.worse) + 0.001:.3f}."
        )


def _bake(adapter: str, name: str, workspace: Path, *, as_json: bool) -> None:
    from mainspring.train.bake_run import bake_adapter

    reference = adapter if "/" in adapter else f"adapter/{adapter}"
    with open_workspace(workspace) as opened:
        made = bake_adapter(opened.registry, reference, name)
        folder = opened.registry.folder(made)
    if as_json:
        show.result({"model": made.reference, "folder": folder, **made.parents})
        return
    show.table([["model", made.reference], *made.parents.items()])
    show.end(workspace, folder, f"models describe {made.reference}")


def _print(report: "MergeReport", config: "MergeConfig") -> None:
    def row(name: str, nll: float) -> list[object]:
        return [name, f"{nll:.4f}", f"{nll - report.nll[report.best]:+.4f}"]

    show.table(
        [row(name, nll) for name, nll in report.nll.items()], ["", "nats a token", "to the best parent"]
    )
    made = "refused" if report.artifact is None else report.artifact.reference
    print(f"\n{config.name}: {made} (on {report.num_segments:,} segments, {report.num_tokens:,.0f} tokens)")
