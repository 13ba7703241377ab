"""The assistant: a chat model that answers from documents, or says that it does not know.

question -> retrieve -> nothing near enough -> "I don't know"
                     -> generate -> a sentence is whole -> supported by stored text? -> released, cited
                                                        -> not supported            -> dropped
                     -> nothing released -> the most relevant stored sentence, as a quote -> or "I don't know"
"""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from mainspring import chat
from mainspring.errors import ChatError, ConfigError, ContextLengthError
from mainspring.knowledge import cite, sentences
from mainspring.knowledge.retrieve import Retriever
from mainspring.knowledge.scope import Scope
from mainspring.knowledge.spans import mean
from mainspring.prompts.template import GroundedPrompt
from mainspring.protocols import PLAIN, ChatModel, Generation, Sink
from mainspring.schema import Answer, Ask, Citation, Delta, Hit, Message, Reply, Sampling, Span, Usage

ABSTENTION = "I don't know. Nothing in the documents answers this."
MAX_QUESTION_CHARACTERS = 8_000  # about 2,000 tokens; a search needs a fraction of that
Confidence = Callable[[Reply], float | None]
"""The chance that a generated answer is right, by the model's reply; None where that is not known."""

AnswerKind = Literal["generated", "extracted", "abstained"]
REFUSAL = re.compile(
    r"\bI (?:do not|don\Wt|cannot|can\Wt) (?:know|answer|find)"
    r"|\bnot (?:mentioned|stated|specified|provided)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When an assistant speaks: least score of the best hit, support of a sentence, relevance of a quote."""

    threshold: float
    support: float = 0.95
    relevance: float = 0.6


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question with what was found for it."""

    question: str
    hits: tuple[Hit, ...]
    version: int
    messages: tuple[Message, ...]
    aligner: cite.Aligner


class Assistant:
    """A model, a knowledge base and a prompt that answer together; implements `protocols.ChatModel`.

    >>> assistant.reply([Message(role="user", content="Which license does it have?")], Sampling()).answer.kind
    'generated'
    """

    def __init__(
        self,
        name: str,
        model: ChatModel,
        retriever: Retriever,
        *,
        scope: Scope,
        prompt: GroundedPrompt,
        sampling: Sampling,
        limits: Limits,
        k: int = 2,
        reference: str = "",
        confidence: Confidence = lambda _: None,
    ) -> None:
        self.name = name
        self.default_sampling = sampling
        self._model = model
        self._retriever = retriever
        self._scope = scope
        self._prompt = prompt
        self._limits = limits
        self._k = k
        self._reference = reference or name
        self._confidence = confidence

    def prompt_messages(self, question: str) -> tuple[tuple[Message, ...], tuple[Hit, ...]]:
        """What the model is told for a question, and the hits it is told of."""
        asked = self._ask([[Message(role="user", content=question)]])[0]
        return asked.messages, asked.hits

    def start(
        self, messages: Sequence[Message], sampling: Sampling, sink: Sink | None = None, *, ask: Ask = PLAIN
    ) -> Generation:
        """See `protocols.ChatModel.start`; of `ask` nothing that changes the answer is taken."""
        if (ask.n, ask.beams, ask.tools, ask.constraint) != (1, 1, (), None):
            raise ConfigError(
                f"The model '{self.name}' gives one answer, in its own form: without tools, constraints, beams or n. "
                f"Leave them out, or ask the model '{self._model.name}'."
            )
        asked = self._ask([messages])[0]
        writer = _Writer(asked, self._limits, self._reference, self._confidence, sink)
        if self._is_too_far(asked):
            return _Abstention(writer)
        return _Answering(writer, self._model.start(asked.messages, sampling, writer.take, ask=ask))

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        return self.replies([messages], sampling)[0]

    def replies(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Reply]:
        asked = self._ask(conversations)
        near = [entry for entry in asked if not self._is_too_far(entry)]
        inner = iter(self._model.replies([entry.messages for entry in near], sampling) if near else ())
        writers = [_Writer(entry, self._limits, self._reference, self._confidence, None) for entry in asked]
        return [
            writer.abstain() if self._is_too_far(entry) else writer.finish(next(inner))
            for writer, entry in zip(writers, asked, strict=True)
        ]

    def _is_too_far(self, asked: _Asked) -> bool:
        return not asked.hits or asked.hits[0].score < self._limits.threshold

    def _ask(self, conversations: Sequence[Sequence[Message]]) -> list[_Asked]:
        for messages in conversations:
            chat.check(messages, open_reply=True)
            if messages[-1].role != "user":
                raise ChatError(
                    f"The model '{self.name}' answers a question, and the last message is of role "
                    f"'{messages[-1].role}'. End with a user message."
                )
            if any(message.role == "system" for message in messages):
                raise ChatError(
                    f"The model '{self.name}' takes no system message: its instructions are its prompt "
                    f"artifact. Leave it out, or send it to the model '{self._model.name}'."
                )
            if len(messages[-1].content) > MAX_QUESTION_CHARACTERS:
                raise ContextLengthError(
                    f"The question has {len(messages[-1].content):,} characters; a search in the documents takes "
                    f"{MAX_QUESTION_CHARACTERS:,} at most. Shorten it, or index the long text as a document."
                )
        questions = [messages[-1].content for messages in conversations]
        view = self._retriever.view(self._scope)
        scope = Scope(tenant=self._scope.tenant, version=view.version, without=self._scope.without)
        found = self._retriever.search_many(questions, scope, self._k)
        return [
            _Asked(
                question, tuple(hits), view.version, self._prompt.messages(question, hits, messages[:-1]),
                cite.Aligner(question, hits, view.lexical.idf, view.titles),
            )
            for question, hits, messages in zip(questions, found, conversations, strict=True)
        ]  # fmt: skip


class _Writer:
    """Turns a model's text into an answer: releases supported sentences and keeps their citations."""

    def __init__(
        self, asked: _Asked, limits: Limits, reference: str, confidence: Confidence, sink: Sink | None
    ) -> None:
        self._asked = asked
        self._limits = limits
        self._reference = reference
        self._sink = sink
        self._raw = ""
        self._judged = 0
        self._text = ""
        self._citations: list[Citation] = []
        self._confidence = confidence
        # Of each sentence let pass: start and end in the answer, and in the raw text.
        self._written: list[tuple[int, int, int, int]] = []
        self.done = threading.Event()
        self.reply: Reply | None = None

    def take(self, delta: Delta) -> None:
        """A delta of the model, in the model's own thread."""
        if delta.error is not None:
            self._send(delta)
            self.done.set()
        elif delta.reply is not None:
            self.finish(delta.reply)
        else:
            self._raw += delta.text
            self._judge(is_whole=False)

    def finish(self, inner: Reply) -> Reply:
        """Judge what is left of the model's text and close the answer."""
        self._raw = inner.text
        if inner.finish_reason == "cancelled":
            return self._close(inner, "generated" if self._text else "abstained")
        self._judge(is_whole=True)
        if self._text:
            return self._close(inner, "generated")
        evidence = self._asked.aligner.most_relevant()
        if evidence is None or evidence.relevance < self._limits.relevance or REFUSAL.search(inner.text):
            self._release(ABSTENTION)
            return self._close(inner, "abstained")
        opening = f"{evidence.hit.chunk.title} says: "
        self._release(f"{opening}“{' '.join(evidence.quote.split())}”", evidence)
        return self._close(inner, "extracted")

    def abstain(self) -> Reply:
        """The answer when nothing near enough was found; the model is not asked."""
        self._release(ABSTENTION)
        nothing = Reply(text="", ids=(), prompt_ids=(), finish_reason="stop", usage=Usage())
        return self._close(nothing, "abstained")

    def _judge(self, *, is_whole: bool) -> None:
        """Release every sentence that is complete and supported; the last one is complete at the end only."""
        spans = sentences.split(self._raw)
        titles = [hit.chunk.title for hit in self._asked.hits]
        for start, end in spans if is_whole else spans[:-1]:
            if start < self._judged:
                continue
            self._judged = end
            sentence = cite.clean(self._raw[start:end], titles)
            if REFUSAL.search(sentence):
                continue
            evidence = self._asked.aligner.support(sentence)
            if evidence is not None and evidence.support >= self._limits.support:
                self._release(sentence, evidence)
                self._written.append((len(self._text) - len(sentence), len(self._text), start, end))

    def _release(self, sentence: str, evidence: cite.Evidence | None = None) -> None:
        start = len(self._text) + (1 if self._text else 0)
        piece = (" " if self._text else "") + sentence
        self._text += piece
        if evidence is not None:
            number = len(self._citations) + 1
            self._citations.append(cite.citation(evidence, number, start, len(self._text)))
        self._send(Delta(text=piece))

    def _close(self, inner: Reply, kind: AnswerKind) -> Reply:
        asked = self._asked
        answer = Answer(
            text=self._text,
            kind=kind,
            citations=tuple(self._citations),
            hits=asked.hits,
            assistant=self._reference,
            spans=self._spans(inner),
            confidence=self._confidence(inner) if kind == "generated" else None,
        )
        attributes = {
            **inner.attributes,
            "mainspring.assistant": self._reference,
            "mainspring.documents": [[hit.chunk.document, asked.version, hit.chunk.id] for hit in asked.hits],
            "mainspring.prompt.messages": [msgspec.to_builtins(message) for message in asked.messages],
            "mainspring.generated": inner.text,
        }
        self.reply = msgspec.structs.replace(inner, text=self._text, answer=answer, attributes=attributes)
        self._send(Delta(reply=self.reply))
        self.done.set()
        return self.reply

    def _spans(self, inner: Reply) -> tuple[Span, ...]:
        """The released sentences where they stand in the answer, as sure as the model was where it wrote them."""
        found = [(start, end, mean(inner.scores, *raw)) for start, end, *raw in self._written]
        return tuple(
            msgspec.structs.replace(each, start=start, end=end)
            for start, end, each in found
            if each is not None
        )

    def _send(self, delta: Delta) -> None:
        if self._sink is not None:
            self._sink(delta)


class _Answering:
    """An answer on its way: the model's generation, seen through the writer."""

    def __init__(self, writer: _Writer, inner: Generation) -> None:
        self._writer = writer
        self._inner = inner
        self.prompt_ids = inner.prompt_ids

    def cancel(self) -> None:
        self._inner.cancel()

    def wait(self) -> Reply:
        self._inner.wait()  # raises what the model failed with
        self._writer.done.wait()
        assert self._writer.reply is not None
        return self._writer.reply

    def replies(self) -> list[Reply]:
        return [self.wait()]


class _Abstention:
    """An answer that needs no model; its deltas come from a thread of their own, as a model's would."""

    prompt_ids: tuple[int, ...] = ()

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer
        self._thread = threading.Thread(target=writer.abstain, name="abstention", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Nothing to stop: the answer is one sentence that is already there."""

    def wait(self) -> Reply:
        self._thread.join()
        assert self._writer.reply is not None
        return self._writer.reply

    def replies(self) -> list[Reply]:
        return [self.wait()]
