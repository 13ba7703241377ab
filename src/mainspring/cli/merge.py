"""mainspring merge: several models or adapters become one, if that is no worse than the best of them."""

from typing import TYPE_CHECKING

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.errors import GateRefusedError

if TYPE_CHECKING:
    from mainspring.train.merge_run import MergeConfig, MergeReport


def merge(
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Merge models or adapters by their weights, and judge the result; exit 3 if it is worse than a parent."""
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


def _print(report: "MergeReport", config: "MergeConfig") -> None:
    def row(name: str, nll: float) -> list[object]:
        return [name, f"{nll:.4f}", f"{nll - report.nll[report.best]:+.4f}"]

    show.table(
        [row(name, nll) for name, nll in report.nll.items()], ["", "nats a token", "to the best parent"]
    )
    made = "refused" if report.artifact is None else report.artifact.reference
    print(f"\n{config.name}: {made} (on {report.num_segments:,} segments, {report.num_tokens:,.0f} tokens)")
