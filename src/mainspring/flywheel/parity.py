"""The model that was trained is the model that answers: the same ids, the same text, everywhere.

ids:  what stands before the first trained token of every lesson == what the trace of its request says was
sent text: greedy in the trainer's model, without engine or cache == in the evaluation == from the server
"""

import json
import time
import urllib.request
from collections.abc import Sequence

import msgspec

from mainspring import chat, trace
from mainspring.adapt import base as adapters
from mainspring.app import ASSISTANT, CHAT_MODEL, IN_PRODUCTION, Workspace
from mainspring.errors import NotFoundError
from mainspring.evaluate.answers import GENERATED, Judged
from mainspring.flywheel import curate
from mainspring.flywheel.harvest import Lesson
from mainspring.flywheel.judge import ANSWERS, EVALUATION
from mainspring.infer.host import Host
from mainspring.infer.local_engine import LocalEngine
from mainspring.infer.stops import StopFilter
from mainspring.schema import Message, Sampling
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.teacher import greedy

REQUEST_S = 120
LOG_S, LOG_TRIES = 0.1, 100


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared and what differed; `differences` is empty where both are equal."""

    ids_checked: int
    ids_equal: bool
    texts_checked: int
    text_equal: bool
    differences: list[str]


def check(workspace: Workspace, url: str | None = None, *, num_texts: int = 3) -> ParityReport:
    """Compare ids of all lessons and text of some held-out questions.

    Args:
        workspace: with a dataset of lessons and an evaluation.
        url: of a running server of this workspace; None asks the assistant in this process.
        num_texts: how many texts are compared; each is generated without a cache, which takes seconds.

    """
    lessons = curate.read(workspace, workspace.registry.get(f"dataset/{curate.DATASET}"))
    differences = check_ids(workspace, lessons)
    ids_equal = not differences
    texts, more = check_texts(workspace, url, num_texts)
    return ParityReport(
        ids_checked=len(lessons), ids_equal=ids_equal, texts_checked=texts, text_equal=not more,
        differences=[*differences, *more],
    )  # fmt: skip


def check_ids(workspace: Workspace, lessons: Sequence[Lesson]) -> list[str]:
    """Differences between the ids a lesson is trained on and those that were sent for it."""
    model = workspace.registry.get(f"model/{CHAT_MODEL}")
    tokenizer = Tokenizer.load(workspace.registry.folder(model))
    workspace.log.flush()
    differences = []
    for lesson in lessons:
        rendered = chat.render(lesson.messages, tokenizer)
        trained = tuple(rendered.ids[: rendered.num_prompt])
        sent = _sent_ids(workspace, lesson)
        if trained != sent:
            place = next(
                (i for i, (a, b) in enumerate(zip(trained, sent, strict=False)) if a != b), len(sent)
            )
            differences.append(
                f"{lesson.request}: trained on {len(trained)} ids, sent {len(sent)}; they differ from id {place} on"
            )
    return differences


def _sent_ids(workspace: Workspace, lesson: Lesson) -> tuple[int, ...]:
    """Prompt ids in the trace of the lesson's request; of a new one where the assistant did not ask its model."""
    for event in workspace.log.find(type="span", subject=lesson.request):
        ids = event.data["attributes"].get(trace.PROMPT_IDS)
        if ids:
            return tuple(ids)
    plain = workspace.chat_model(f"model/{CHAT_MODEL}", name=CHAT_MODEL)
    return plain.reply(lesson.messages[:-1], Sampling(max_tokens=1)).prompt_ids


def check_texts(workspace: Workspace, url: str | None, num_texts: int) -> tuple[int, list[str]]:
    """Greedy texts of the assistant in production, by three ways."""
    reference = workspace.registry.get(IN_PRODUCTION).reference
    rows = [row for row in _evaluated(workspace, reference) if row.generated.strip()][:num_texts]
    host = workspace.host(workspace.spec(reference).model)
    assistant = workspace.assistant(reference)
    sampling = assistant.default_sampling
    differences = []
    for row in rows:
        messages, _ = assistant.prompt_messages(row.question)
        prompt = chat.render(messages, host.tokenizer, open_reply=True).ids
        ids = _plain_forward(host, workspace.spec(reference).adapter, prompt, sampling.max_tokens)
        written, stops = host.tokenizer.decode(ids), StopFilter(sampling.stop)
        texts = {
            "trainer": stops.push(written) + stops.flush(),
            "evaluation": row.generated,
            "server": _served(workspace, url, row.question),
        }
        if len(set(texts.values())) > 1:
            differences.append(f"{row.id}: {texts}")
    return len(rows), differences


def _plain_forward(
    host: Host[LocalEngine], adapter: str | None, prompt: Sequence[int], limit: int
) -> list[int]:
    """Greedy ids by the trainer's forward on these weights, while the engine stands still."""
    found: list[int] = []

    def run() -> None:
        adapters.activate(host.engine.model, adapter)
        found.extend(greedy(host.engine.model, prompt, limit, host.tokenizer.end_ids))

    host.engine.between_steps(run)
    return found


def _evaluated(workspace: Workspace, reference: str) -> list[Judged]:
    """The answers of an assistant in the newest evaluation it took part in."""
    for name in reversed(workspace.registry.list("evaluation")):
        evaluation = workspace.registry.get(name, verify=True)
        systems = [system for system, parent in evaluation.parents.items() if parent == reference]
        if systems:
            lines = (workspace.registry.folder(evaluation) / ANSWERS).read_bytes()
            rows = [
                row for row in msgspec.json.Decoder(dict).decode_lines(lines) if row["system"] == systems[0]
            ]
            return [msgspec.convert(row, Judged) for row in rows]
    raise NotFoundError(
        f"{reference} stands in no evaluation/{EVALUATION}, so its texts cannot be compared. "
        "Run `mainspring gate` or `mainspring flywheel run` first."
    )


def _served(workspace: Workspace, url: str | None, question: str) -> str:
    """What the model itself wrote for a question, by the trace of a request to the server."""
    if url is None:
        message = Message(role="user", content=question)
        assistant = workspace.assistant()
        return str(assistant.reply([message], assistant.default_sampling).attributes[GENERATED])
    body = {"model": ASSISTANT, "messages": [{"role": "user", "content": question}]}
    request = urllib.request.Request(  # noqa: S310 - the server's own address, given by the caller
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=REQUEST_S) as response:  # noqa: S310 - as above
        request_id = json.load(response)["mainspring"]["request"]
    for _ in range(LOG_TRIES):  # the server's log is committed in groups, a moment behind its answers
        for span in workspace.log.find(type="span", subject=request_id):
            if GENERATED in span.data["attributes"]:
                return str(span.data["attributes"][GENERATED])
        time.sleep(LOG_S)
    raise NotFoundError(
        f"The server at {url} wrote no trace of {request_id} into {workspace.root}. Is it another's?"
    )
