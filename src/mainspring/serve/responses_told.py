"""A response as it is written: the whole object, and the events of its stream with their numbers."""

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from mainspring.errors import MainspringError
from mainspring.schema import Delta, Reply, Sampling, ToolCall, ToolCallDelta, Usage
from mainspring.serve import sse
from mainspring.serve.base import fault_of
from mainspring.serve.extension import extension, text_of
from mainspring.serve.fields import logprob_row
from mainspring.serve.openai import UNMODERATED
from mainspring.serve.responses_body import Json, ResponseBody, conversation_of, messages_of

UNSAID = {"strict": None, "parameters": {}, "description": None}  # fields of a tool that every answer has


def opening(identity: str, body: ResponseBody, model: str, sampling: Sampling) -> Json:
    """A response of which nothing has been said yet."""
    form = body.text.format
    is_schema = form.type == "json_schema"
    more = {"name": form.name, "schema": form.schema, "strict": form.strict} if is_schema else {}
    named = conversation_of(body)
    moderation = {"moderation": {"input": UNMODERATED, "output": UNMODERATED}} if body.moderation else {}
    return {
        "id": identity, "object": "response", "created_at": int(time.time()), "status": "in_progress",
        "background": body.background, "completed_at": None, "error": None, "incomplete_details": None,
        "conversation": named and {"id": named}, "prompt": msgspec.to_builtins(body.prompt),
        "instructions": body.instructions, "max_output_tokens": body.max_output_tokens, "model": model,
        "output": [], "parallel_tool_calls": body.parallel_tool_calls,
        "previous_response_id": body.previous_response_id, "reasoning": {"effort": None, "summary": None},
        "service_tier": "default", "store": body.store, "temperature": sampling.temperature,
        "text": {"format": {"type": form.type, **more}, "verbosity": body.text.verbosity},
        "tool_choice": msgspec.to_builtins(body.tool_choice), "tools": [UNSAID | tool for tool in body.tools],
        "top_logprobs": body.top_logprobs, "top_p": sampling.top_p, "truncation": body.truncation, "usage": None,
        "user": body.user, "metadata": body.metadata or {}, **moderation,
    }  # fmt: skip


def closing(response: Json, reply: Reply, request: str) -> Json:
    """The response with its reply; one that its limit cut is incomplete."""
    if reply.finish_reason == "length":
        end: Json = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    else:
        end = {"status": "completed", "completed_at": int(time.time())}
    return {
        **response, **end, "output": _output(response["id"], reply, end["status"]), "usage": _usage(reply.usage),
        "mainspring": extension(request, reply),
    }  # fmt: skip


def transcript(items: list[Json]) -> str:
    """A conversation as one text, for the model that sums it up."""
    said = [f"{message.role}: {message.content}" for message in messages_of(None, items) if message.content]
    return "\n".join(["Sum up this conversation in a few sentences, with all that was agreed.", "", *said])


def compacted(identity: str, items: list[Json], reply: Reply) -> Json:
    """What the user said, and behind it the item that stands for the whole conversation."""
    kept = [item for item in items if item.get("role") == "user" and item["type"] == "message"]
    summary = base64.b64encode(text_of(reply).encode()).decode()
    item = {"id": identity.replace("resp_", "cmp_"), "type": "compaction", "encrypted_content": summary}
    return {
        "id": identity, "object": "response.compaction", "created_at": int(time.time()),
        "output": [*kept, item], "usage": _usage(reply.usage),
    }  # fmt: skip


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }  # fmt: skip


class Teller:
    """The stream: the response begun, each of its items begun, filled and ended, the response ended.

    `keep` is given the response when it is whole, before the client hears of it. For `is_padded` see sse.padding.
    """

    def __init__(
        self, response: Json, request: str, keep: Callable[[Json], None], *, is_padded: bool = False
    ) -> None:
        self._response, self._request, self._keep, self._is_padded = response, request, keep, is_padded
        self._text = _text_item(response["id"], [])
        self._number = -1
        self._places: dict[str, Json] = {}  # of the items that have begun, by their ids
        self._sent = ""
        self._done: Json = {}

    def begin(self) -> Iterator[bytes]:
        yield self._event("response.created", response=self._response)
        yield self._event("response.in_progress", response=self._response)

    def take(self, delta: Delta) -> Iterator[bytes]:
        if delta.reply is not None:
            yield from self.close(closing(self._response, delta.reply, self._request))
            return
        if delta.text:
            self._sent += delta.text
            rows = [logprob_row(one) for one in delta.logprobs]
            yield from self._fill(self._text, delta.text, logprobs=rows)
        for call in delta.tool_calls:
            yield from self._fill(_call_item(self._response["id"], call.index, call), call.arguments)

    def end(self) -> Iterator[bytes]:
        self._keep(self._done)
        yield self._event(f"response.{self._done['status']}", response=self._done)

    def fail(self, error: Exception) -> Iterator[bytes]:
        code = "rate_limit_exceeded" if getattr(error, "status", 500) == 429 else "server_error"
        fault = {"code": code, "message": fault_of(error).message}
        self._done = {**self._response, "status": "failed", "error": fault}
        yield from self.end()
        if not isinstance(error, MainspringError):
            yield self._event("error", **fault, param=None)

    def _fill(self, item: Json, piece: str, **more: Any) -> Iterator[bytes]:
        """A piece of an item, which begins with its first; of `item` is told what it is, not what is in it."""
        identity, is_text = item["id"], item["type"] == "message"
        if identity not in self._places:
            index = len(self._places)
            place = self._places[identity] = {"item_id": identity, "output_index": index}
            begun = {**item, "status": "in_progress", **({"content": []} if is_text else {"arguments": ""})}
            yield self._event("response.output_item.added", output_index=index, item=begun)
            if is_text:
                place["content_index"] = 0
                yield self._event("response.content_part.added", **place, part=_part("", []))
        kind = "output_text" if is_text else "function_call_arguments"
        more |= sse.padding(is_asked=self._is_padded)
        yield self._event(f"response.{kind}.delta", **self._places[identity], delta=piece, **more)

    def close(self, done: Json) -> Iterator[bytes]:
        """What of a whole response has not been said yet, and the ends of its items."""
        self._done = done
        for item in done["output"]:
            is_new = item["id"] not in self._places
            if item["type"] == "message":
                [part] = item["content"]
                missing = part["text"].removeprefix(self._sent) if part["text"].startswith(self._sent) else ""
                if missing or is_new:
                    yield from self._fill(item, missing, logprobs=part["logprobs"] if is_new else [])
            elif is_new:
                yield from self._fill(item, item["arguments"])
        done["output"].sort(key=lambda item: self._places[item["id"]]["output_index"])
        for item in done["output"]:
            place = self._places[item["id"]]
            if item["type"] == "message":
                [part] = item["content"]
                said = {"text": part["text"], "logprobs": part["logprobs"]}
                yield self._event("response.output_text.done", **place, **said)
                yield self._event("response.content_part.done", **place, part=part)
            else:
                said = {"name": item["name"], "arguments": item["arguments"]}
                yield self._event("response.function_call_arguments.done", **place, **said)
            yield self._event("response.output_item.done", output_index=place["output_index"], item=item)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return sse.event({"type": kind, "sequence_number": self._number, **fields}, kind)


def replay(response: Json) -> Iterator[bytes]:
    """The stream of a response that is kept, each of its texts in one piece."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    teller = Teller(begun, response["id"], lambda _: None)
    yield from teller.begin()
    yield from teller.close(response)
    yield from teller.end()


def _output(identity: str, reply: Reply, status: str) -> list[Json]:
    """The items; a limit cuts the last one alone."""
    items = [_call_item(identity, index, call) for index, call in enumerate(reply.tool_calls)]
    if (text := text_of(reply)) or not items:
        logprobs = [logprob_row(one) for one in reply.logprobs]
        items.insert(0, _text_item(identity, [_part(text, logprobs)]))
    items[-1]["status"] = status
    return items


def _text_item(identity: str, content: list[Json]) -> Json:
    return _item(identity.replace("resp_", "msg_"), "message", role="assistant", content=content)


def _call_item(identity: str, index: int, call: ToolCall | ToolCallDelta) -> Json:
    own = f"{identity.replace('resp_', 'fc_')}_{index}"
    return _item(own, "function_call", call_id=call.id, name=call.name, arguments=call.arguments)


def _item(identity: str, kind: str, **more: Any) -> Json:
    return {"id": identity, "type": kind, "status": "completed", **more}


def _part(text: str, logprobs: list[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}
