"""mainspring replay: a recorded request again, and whether it gives the same to the bit."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.errors import NotFoundError

if TYPE_CHECKING:
    from mainspring.app import Workspace
    from mainspring.infer.replay import Recording


def replay(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST", help="A request's id, as `mainspring trace` lists them.")
    ],
    workspace: WorkspacePath = DEFAULT,
    config: Files = None,
    option: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Run a recorded request again: equal to the bit, or the first place that differs.

    It runs on the backend that answered, in this process; -o sets the other settings of the engine
    (-o speculation=false).
    """
    from mainspring.errors import ConfigError, MainspringError
    from mainspring.infer.request import EngineConfig

    engine = load_config(EngineConfig, config, option)
    if engine.isolate:
        raise ConfigError("`isolate` is true; a replay runs in this process. Leave it out.")
    with open_workspace(workspace) as opened:
        recordings = _recordings(opened, request)
    backend = recordings[0].backend
    if "backend" in engine.model_fields_set and engine.backend != backend:
        raise ConfigError(
            f"`backend` is {engine.backend}; {backend} answered the request, and only there it can be the same. "
            "Leave it out."
        )
    engine = engine.model_copy(update={"backend": backend})
    with open_workspace(workspace, engine=engine) as opened:
        results = _run(opened, recordings)
    if as_json:
        show.result({"request": request, "replies": results})
    else:
        show.table(
            [[str(index), each["mode"], each["said"]] for index, each in enumerate(results)],
            ("reply", "mode", "result"),
        )
        show.end(workspace, workspace / "mainspring.db", f"trace {request} --ids")
    if not all(each["equal"] for each in results):
        raise MainspringError(f"The request {request} does not give the same again; see above.")


def _recordings(opened: "Workspace", request: str) -> "list[Recording]":
    import msgspec

    from mainspring import trace
    from mainspring.events import data_of
    from mainspring.infer.replay import Recording

    opened.log.flush()
    for span in data_of(opened.log.find(subject=request), "span"):
        found = span["attributes"].get(trace.RECORDINGS)
        if found:
            return msgspec.convert(found, list[Recording], strict=False)
    raise NotFoundError(
        f"There is no recording of '{request}': no such request, or no engine answered it. `mainspring trace` "
        "lists the latest ones."
    )


def _run(opened: "Workspace", recordings: "list[Recording]") -> list[dict[str, Any]]:
    from mainspring.infer import replay as replays

    first = recordings[0]
    adapter = first.request.adapter
    opened.chat_model(first.model, adapter)
    engine = opened.host(first.model).engine
    if engine.fingerprint != first.fingerprint:
        said = f"weights or kernels are others: recorded {first.fingerprint[:16]}, here {engine.fingerprint[:16]}"
        return [{"equal": False, "mode": each.mode, "said": said} for each in recordings]
    differences = replays.replay(recordings, engine)
    return [
        {
            "equal": difference is None,
            "mode": recording.mode,
            "said": difference or f"equal: {len(recording.ids)} ids and log-probabilities",
        }
        for recording, difference in zip(recordings, differences, strict=True)
    ]
