"""A scripted TextModel: says given words as tokens, with log-probabilities, tool calls and several replies.

Its ids are bytes for prompts and places in its script for replies; every generation has a thread of its own.
"""

import json
import threading
import time

from mainspring.errors import ConfigError, ContextLengthError, MainspringError
from mainspring.protocols import PLAIN
from mainspring.schema import Delta, Reply, Sampling, TokenLogprob, ToolCallDelta, Usage


class Spoken:
    """The replies to one request, on their way."""

    def __init__(self, model, prompt_ids, sampling, ask, sink):
        self.model, self.prompt_ids, self.sampling, self.ask, self.sink = (
            model,
            prompt_ids,
            sampling,
            ask,
            sink,
        )
        self.is_cancelled = False
        self.whole, self.error = [], None
        self.done = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def cancel(self):
        self.is_cancelled = True

    def wait(self):
        return self.replies()[0]

    def replies(self):
        self.done.wait()
        if self.error:
            raise self.error
        return self.whole

    def _run(self):
        try:
            for index in range(self.ask.n):
                self._say(index)
        except MainspringError as error:
            self.error = error
            self._send(Delta(error=str(error)))
        self.done.set()

    def _send(self, delta):
        if self.sink:
            self.sink(delta)

    def _say(self, index):
        words, calls = self.model.words_for(self.ask, index)
        said, logprobs, reason, stopped_by = [], [], "stop", None
        if self.sampling.prompt_logprobs is not None:
            self._send(Delta(index=index, prompt_logprobs=self._prompt_logprobs()))
        for place, word in enumerate(words):
            if self.is_cancelled or place >= self.sampling.max_tokens:
                reason = "cancelled" if self.is_cancelled else "length"
                break
            time.sleep(self.model.step_s)
            if self.model.error and place == self.model.error_after:
                raise self.model.error
            stop = next((one for one in self.sampling.stop if one in word), None)
            if stop is not None:
                stopped_by = stop
                break
            said.append(word)
            logprob = self._logprob(place, word)
            logprobs += [logprob] if logprob else []
            self._send(Delta(index=index, text=word, ids=(place,), logprobs=(logprob,) if logprob else ()))
        if calls and reason == "stop":
            self._call(index, calls)
            reason = "tool_calls"
        reply = Reply(
            text="".join(said), ids=tuple(range(len(said))), prompt_ids=self.prompt_ids, index=index,
            finish_reason="cancelled" if self.is_cancelled else reason, stopped_by=stopped_by,
            usage=Usage(prompt_tokens=len(self.prompt_ids), completion_tokens=len(said), cached_tokens=1),
            tool_calls=tuple(calls) if reason == "tool_calls" else (), logprobs=tuple(logprobs),
            prompt_logprobs=self._prompt_logprobs(),
        )  # fmt: skip
        self.whole.append(reply)
        self._send(Delta(index=index, reply=reply))

    def _call(self, index, calls):
        for number, call in enumerate(calls):
            half = len(call.arguments) // 2
            first = ToolCallDelta(index=number, id=call.id, name=call.name, arguments=call.arguments[:half])
            self._send(Delta(index=index, tool_calls=(first,)))
            rest = ToolCallDelta(index=number, arguments=call.arguments[half:])
            self._send(Delta(index=index, tool_calls=(rest,)))

    def _logprob(self, place, word):
        count = self.sampling.logprobs
        if count is None:
            return None
        others = tuple(
            TokenLogprob(id=1000 + rank, text=f"alt{rank}", logprob=-1.0 - rank) for rank in range(1, count)
        )
        own = TokenLogprob(id=place, text=word, logprob=-0.5, bytes=tuple(word.encode()))
        return TokenLogprob(
            id=place, text=word, logprob=-0.5, bytes=tuple(word.encode()), alternatives=(own, *others)[:count]
        )

    def _prompt_logprobs(self):
        count = self.sampling.prompt_logprobs
        if count is None:
            return ()
        text = [chr(one) for one in self.prompt_ids]
        rows = [
            TokenLogprob(
                id=one, text=text[place], logprob=-2.0, bytes=(one,),
                alternatives=(TokenLogprob(id=one, text=text[place], logprob=-2.0),)[:count],
            )
            for place, one in enumerate(self.prompt_ids)
        ]  # fmt: skip
        return (None, *rows[1:])


class SpokenModel:
    """`calls` are made whenever tools are offered; `runs` keeps every generation."""

    context = 4000

    def __init__(self, name, text="Hello there.", *, calls=(), step_s=0.0, error=None, error_after=0):
        self.name, self.text, self.calls, self.step_s = name, text, calls, step_s
        self.error, self.error_after = error, error_after
        self.default_sampling = Sampling(max_tokens=1000)
        self.runs = []
        self.asked = []

    def words_for(self, ask, index):
        text, calls = self.text, self.calls if ask.tools and ask.tool_choice != "none" else ()
        if ask.constraint is not None:
            kind, value = ask.constraint.kind, ask.constraint.value
            text = value[0] if kind == "choice" else '{"answer": 42}'
        if calls and ask.tool_choice == "required":
            text = ""
        if index:
            text += f" {index}"
        words = text.split(" ")
        return [words[0], *(f" {word}" for word in words[1:])] if text else [], calls

    def start(self, messages, sampling, sink=None, *, ask=PLAIN):
        self.asked.append(tuple(messages))
        return self._begin(tuple(self.prompt_ids(messages, ask)), sampling, sink, ask)

    def complete(self, prompt, sampling, sink=None, *, ask=PLAIN):
        self.asked.append(prompt)
        ids = self.encode(prompt) if isinstance(prompt, str) else prompt
        return self._begin(tuple(ids), sampling, sink, ask)

    def prompt_ids(self, messages, ask=PLAIN):
        tools = json.dumps([tool.name for tool in ask.tools]) if ask.tools else ""
        return self.encode(tools + "".join(f"<{message.role}>{message.content}" for message in messages))

    def encode(self, text):
        return list(text.encode())

    def decode(self, ids):
        return bytes(one % 256 for one in ids).decode(errors="replace")

    def reply(self, messages, sampling):
        return self.start(messages, sampling).wait()

    def replies(self, conversations, sampling):
        return [self.reply(messages, sampling) for messages in conversations]

    def close(self):
        for run in self.runs:
            run.cancel()
            run.done.wait()

    def _begin(self, ids, sampling, sink, ask):
        if len(ids) > self.context:
            raise ContextLengthError(
                f"The prompt has {len(ids):,} tokens; the context holds {self.context:,}."
            )
        if ask.constraint is not None and ask.constraint.kind == "json_schema":
            kind = ask.constraint.value.get("type", "object")
            if kind not in {"object", "array", "string", "number", "integer", "boolean", "null"}:
                raise ConfigError(f"The JSON Schema has the unknown type {kind!r}.")
        run = Spoken(self, ids, sampling, ask, sink)
        self.runs.append(run)
        return run
