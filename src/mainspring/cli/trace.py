"""mainspring trace: what a request was told, what it answered, and how that came about."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, WorkspacePath, open_workspace
from mainspring.errors import NotFoundError

if TYPE_CHECKING:
    from mainspring.events import Event, EventLog

NUM_LATEST = 20


def trace(
    request: Annotated[
        str | None, typer.Argument(metavar="[REQUEST]", help="A request's id; the latest ones if none.")
    ] = None,
    ids: Annotated[
        bool, typer.Option("--ids", help="Print the token ids that went in and came out.")
    ] = False,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show the latest requests, or everything that is known of one."""
    with open_workspace(workspace) as opened:
        if request is None:
            commands = _latest(opened.log, as_json=as_json)
        else:
            commands = _one(opened.log, request, with_ids=ids, as_json=as_json)
    if not as_json:
        show.end(workspace, workspace / "mainspring.db", *commands)


def _latest(log: "EventLog", *, as_json: bool) -> list[str]:
    """Show the latest requests; returns the commands that come next."""
    found = [_line(log, subject) for subject in log.latest_subjects("span", NUM_LATEST)]
    if as_json:
        show.result({"requests": found})
    else:
        _print_latest(found)
    return [f"trace {found[0]['request']}"] if found else ['ask "QUESTION"']


def _one(log: "EventLog", request: str, *, with_ids: bool, as_json: bool) -> list[str]:
    """Show all of one request; returns the commands that come next."""
    events = log.find(subject=request)
    if not events:
        raise NotFoundError(f"There is no request '{request}' here; `mainspring trace` lists the latest.")
    if as_json:
        show.result({"request": request, "events": events})
    else:
        _print_one(events, with_ids=with_ids)
    return ["trace"] if with_ids else ["trace", f"trace {request} --ids"]


def _line(log: "EventLog", request: str) -> dict[str, Any]:
    from mainspring import trace as names
    from mainspring.events import data_of
    from mainspring.gateway.base import ANSWER

    events = log.find(subject=request)
    span, answer = data_of(events, "span")[-1], data_of(events, ANSWER)
    attributes = span["attributes"]
    return {
        "request": request,
        "time": span["start"],
        "model": attributes.get(names.MODEL),
        "kind": (answer[-1]["kind"] or "plain") if answer else attributes.get("error", span["name"]),
        "input_tokens": attributes.get(names.INPUT_TOKENS),
        "output_tokens": attributes.get(names.OUTPUT_TOKENS),
        "first_token_s": attributes.get(names.TIME_TO_FIRST_S),
        "duration_s": span["duration_s"],
    }


def _print_latest(found: list[dict[str, Any]]) -> None:
    if not found:
        print("no request yet")
    heads = ["request", "time", "model", "kind", "in", "out", "first token", "whole"]
    rows = [
        [
            row["request"],
            _when(row["time"]),
            row["model"],
            row["kind"],
            row["input_tokens"],
            row["output_tokens"],
            None if row["first_token_s"] is None else f"{row['first_token_s']:.2f} s",
            f"{row['duration_s']:.2f} s",
        ]
        for row in found
    ]
    show.table(rows, heads if rows else ())


def _print_one(events: "list[Event]", *, with_ids: bool) -> None:
    from mainspring.events import data_of
    from mainspring.gateway.base import ANSWER
    from mainspring.observe.feedback import FEEDBACK

    for span in data_of(events, "span"):
        print(f"{span['name']}  {_when(span['start'])}  {span['duration_s']:.3f} s")
        show.table([[f"  {name}", _value(name, value)] for name, value in span["attributes"].items()])
        if with_ids:
            _print_ids(span["attributes"])
    for answer in data_of(events, ANSWER):
        print(f"\nanswer ({answer['kind'] or 'plain'}, {len(answer['citations'])} citations)")
        print(f"  {answer['text']}")
    for said in data_of(events, FEEDBACK):
        print(f"\nrated {said['rating']} by {said['source']}: {said['correction'] or 'no correction'}")


def _print_ids(attributes: dict[str, Any]) -> None:
    from mainspring.trace import OUTPUT_IDS, PROMPT_IDS

    for name in (PROMPT_IDS, OUTPUT_IDS):
        print(f"  {name}\n  {' '.join(map(str, attributes.get(name, ())))}")


def _value(name: str, value: object) -> str:
    if isinstance(value, list) and name.endswith(".ids"):
        return f"{len(value):,} ids"
    if isinstance(value, list) and name.endswith(".recordings"):
        return f"{len(value)}; `mainspring replay` runs them again"
    return show.shorten(str(value))


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
