"""Which runs can be gone on with."""

from mainspring.errors import BusyError, UserError
from mainspring.runs import Runs


def check_stopped(runs: Runs, kind: str, run_id: str) -> None:
    """Raise unless this is a run of a kind that was stopped before its end."""
    found = next((run for run in runs.list(kind) if run.id == run_id), None)
    if found is None:
        runs.get(run_id)  # says that there is none
        raise UserError(f"{run_id} is not a run of `{kind}`. Give one that is.")
    if found.status == "done":
        raise UserError(f"{run_id} is done; it made {', '.join(map(str, found.result.values()))}.")
    if found.status == "running":
        raise BusyError(f"{run_id} is running as process {found.pid}. Wait until it is done.")
