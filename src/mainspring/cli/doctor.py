"""mainspring doctor: what this machine and this workspace have, and what to do about the rest."""

from pathlib import Path
from typing import TYPE_CHECKING

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, WorkspacePath, open_workspace

if TYPE_CHECKING:
    from mainspring.app import Workspace

LEAST_DISK_BYTES = 3_000_000_000
LEAST_MEMORY_BYTES = 3_000_000_000


def doctor(workspace: WorkspacePath = DEFAULT, as_json: AsJson = False) -> None:
    """Look at the machine and the workspace, and say what to do next for each thing that is missing."""
    advice: list[str] = []
    machine = _machine(workspace, advice) | _sandbox(advice)
    found: dict[str, object] = {"folder": str(workspace), "there": (workspace / "mainspring.db").exists()}
    if found["there"]:
        swept = _num_half_written(workspace)
        with open_workspace(workspace) as opened:
            found["swept"] = swept - _num_half_written(workspace)
            found |= _workspace(opened, advice)
    else:
        advice.append("no workspace yet: mainspring fetch")
    if as_json:
        show.result({"machine": machine, "workspace": found, "advice": advice})
        return
    show.table([[name, _text(value)] for name, value in (machine | found).items()])
    print()
    for line in advice or ["nothing is missing"]:
        print(f"- {line}")
    show.end(workspace, workspace.absolute(), 'ask "QUESTION"', "serve")


def _machine(path: Path, advice: list[str]) -> dict[str, object]:
    import platform
    import shutil
    from importlib.metadata import version

    import psutil
    import torch

    from mainspring import device

    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free, memory = shutil.disk_usage(existing).free, psutil.virtual_memory()
    is_cpu_build = torch.version.cuda is None and torch.version.hip is None
    if not is_cpu_build:
        advice.append("torch is a build for accelerators; a CPU build is some GB smaller and does here too")
    if free < LEAST_DISK_BYTES:
        advice.append(f"{free / 1e9:.1f} GB of disk are free; make room for {LEAST_DISK_BYTES / 1e9:.0f} GB")
    if memory.available < LEAST_MEMORY_BYTES:
        advice.append(
            f"{memory.available / 1e9:.1f} GB of memory are free; tuning wants "
            f"{LEAST_MEMORY_BYTES / 1e9:.0f} GB"
        )
    return {
        "python": platform.python_version(),
        "torch": f"{torch.__version__} ({'CPU build' if is_cpu_build else 'accelerator build'})",
        "tokenizers": version("tokenizers"),
        "machine": device.describe(),
        "memory free": f"{memory.available / 1e9:.1f} GB",
        "disk free": f"{free / 1e9:.1f} GB",
    }


def _sandbox(advice: list[str]) -> dict[str, object]:
    """How untrusted code is kept apart here."""
    from mainspring.sandbox import Sandbox

    found = Sandbox(require_isolation=False).describe()
    if not found.isolation:
        advice.append(
            "untrusted code would keep its network here, so rewards by unit tests are refused: run as root, or let "
            "users have namespaces (sysctl user.max_user_namespaces)"
        )
    kind = f"namespaces of {found.isolation}" if found.isolation else "none"
    return {"sandbox": kind, "sandbox keeps": list(found.kept), "sandbox lacks": list(found.lacking)}


def _workspace(workspace: "Workspace", advice: list[str]) -> dict[str, object]:
    """What is there, in the order of life; what is missing goes to `advice`."""
    from mainspring.app import ASSISTANT, CHAT_MODEL, EMBEDDER, IN_PRODUCTION, PRODUCTION

    registry = workspace.registry
    found: dict[str, object] = {"models": _models(workspace, advice)}
    missing = [name for name in (CHAT_MODEL, EMBEDDER) if not registry.has(f"model/{name}")]
    if missing:
        advice.append(f"no model {' and no model '.join(missing)}: mainspring fetch {' '.join(missing)}")
    indexes = registry.list("index")
    if indexes:
        config = registry.get(indexes[-1]).config
        found["index"] = f"{indexes[-1]}: {config['documents']:,} documents, {config['chunks']:,} chunks"
    else:
        advice.append("no index: mainspring index FOLDER, or mainspring index --packages")
    if registry.labelled("assistant", ASSISTANT, PRODUCTION) is not None:
        found["production"] = registry.get(IN_PRODUCTION).reference
        found["made of"] = sorted(
            set(registry.lineage(registry.get(IN_PRODUCTION).reference)) - {found["production"]}
        )
    elif indexes:
        advice.append("no assistant in production: mainspring index again, with smollm2 there, makes one")
    found["runs"] = [f"{run.id} {run.status}" for run in workspace.runs.list()]
    advice += [
        f"{run.id} was killed: mainspring train --resume {run.id}"
        for run in workspace.runs.list("train")
        if run.status == "killed"
    ]
    found["ratings"] = len(workspace.feedback.latest())
    return found


def _models(workspace: "Workspace", advice: list[str]) -> list[str]:
    """The models whose files are those that were written; a damaged one is advised about."""
    from mainspring.errors import ChecksumError

    whole = []
    for reference in workspace.registry.list("model"):
        try:
            workspace.registry.get(reference, verify=True)
            whole.append(reference)
        except ChecksumError as error:
            advice.append(f"{error} ({reference}: mainspring fetch)")
    return whole


def _num_half_written(path: Path) -> int:
    return len(list((path / "artifacts").glob(".writing-*")))


def _text(value: object) -> object:
    return "; ".join(map(str, value)) or "none" if isinstance(value, list) else value
