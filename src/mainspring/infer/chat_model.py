"""The engine as a ChatModel: messages in, text out.

messages -> chat.render -> Request(s) -> engine -> EngineGeneration
"""

from collections.abc import Sequence

import msgspec

from mainspring import chat, trace
from mainspring.errors import ConfigError
from mainspring.infer import sampling as samplings
from mainspring.infer.base import AnyEngine
from mainspring.infer.beams import BeamGeneration
from mainspring.infer.generation import EngineGeneration, Shared
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import Request
from mainspring.infer.tools.plan import ToolPlan, plan
from mainspring.protocols import PLAIN, Sink
from mainspring.schema import ALL_THAT_FIT, Ask, Message, Reply, Sampling
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.fill import Shown, fill

MAX_REPLIES = 128


class EngineChat:
    """One model of an engine, with one of its adapters or none; implements `protocols.TextModel`.

    `max_unasked` is the most tokens of a reply that may be as long as fits; 0: the context alone bounds it.
    """

    def __init__(
        self, name: str, engine: AnyEngine, tokenizer: Tokenizer, plan: KernelPlan, *, model: str,
        adapter: str | None = None, sampling: Sampling | None = None, max_unasked: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.default_sampling = name, sampling or Sampling()
        self.context, self._max_unasked = engine.context, max_unasked
        self._engine, self._tokenizer, self._adapter = engine, tokenizer, adapter
        self._attributes = {
            trace.ENGINE_MODE: plan.mode, trace.ENGINE_BACKEND: engine.backend_name,
            trace.KERNEL_PLAN: plan.fingerprint, trace.MODEL_ARTIFACT: model, trace.ADAPTER: adapter,
        }  # fmt: skip

    def start(
        self, messages: Sequence[Message], sampling: Sampling, sink: Sink | None = None, *, ask: Ask = PLAIN
    ) -> EngineGeneration:
        """Begin a reply; see `protocols.ChatModel.start`."""
        ids, planned = self._show(messages, ask)
        return self._begin(Shown(ids=ids), planned, sampling, sink, ask)

    def complete(
        self, prompt: str | Sequence[int], sampling: Sampling, sink: Sink | None = None, *, ask: Ask = PLAIN
    ) -> EngineGeneration:
        """Begin to continue a prompt as it stands, or to fill what lacks between it and `ask.suffix`.

        Text gets before it what the model's own files put there, such as a bos token; ids stay as they are.
        """
        if ask.tools:
            raise ConfigError("Tools were given with a raw prompt; only messages can be answered with tools.")
        if ask.suffix:
            shown = fill(self._tokenizer, prompt, ask.suffix)
        elif isinstance(prompt, str):
            shown = Shown(ids=[*self._tokenizer.opening_ids, *self.encode(prompt)])
        else:
            shown = Shown(ids=prompt)
        size = self._tokenizer.vocab_size
        wrong = next((each for each in shown.ids if not 0 <= each < size), None)
        if wrong is not None:
            raise ConfigError(f"The prompt holds the id {wrong}; this model's ids go from 0 to {size - 1:,}.")
        planned = ToolPlan(constraint=ask.constraint)
        return self._begin(shown, planned, sampling, sink, ask, lead=self._tokenizer.lead_ids)

    def prompt_ids(self, messages: Sequence[Message], ask: Ask = PLAIN) -> list[int]:
        """The ids that the model is shown for messages."""
        return self._show(messages, ask)[0]

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        return self.start(messages, sampling).wait()

    def replies(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Reply]:
        """All at once into the engine, which batches them; where one is refused, none goes on."""
        started: list[EngineGeneration] = []
        try:
            started.extend(self.start(messages, sampling) for messages in conversations)
            return [each.wait() for each in started]
        except BaseException:
            for each in started:
                each.cancel()
            raise

    def _show(self, messages: Sequence[Message], ask: Ask) -> tuple[list[int], ToolPlan]:
        """The prompt's ids, and what its tools mean."""
        planned, go_on = plan(ask, self._tokenizer.chat_template), ask.go_on
        prompt = chat.render(
            messages, self._tokenizer, open_reply=not go_on, go_on=go_on, tools=planned.shown
        )
        return prompt.ids, planned

    def _begin(
        self, shown: Shown, planned: ToolPlan, sampling: Sampling, sink: Sink | None, ask: Ask,
        *, lead: Sequence[int] = (),
    ) -> EngineGeneration:  # fmt: skip
        if sampling.max_tokens == ALL_THAT_FIT:
            room = max(self.context - len(shown.ids), 1)
            sampling = msgspec.structs.replace(sampling, max_tokens=min(room, self._max_unasked or room))
        samplings.check(sampling, vocab_size=self._tokenizer.vocab_size)
        if not 1 <= ask.n <= max(ask.n, ask.best_of) <= MAX_REPLIES:
            raise ConfigError(
                f"`n` is {ask.n} and `best_of` {ask.best_of}; they must be from 1 to {MAX_REPLIES}."
            )
        request = Request(
            ids=tuple(shown.ids), sampling=sampling, end_ids=(*self._tokenizer.end_ids, *shown.end_ids),
            adapter=self._adapter, constraint=planned.constraint, priority=ask.priority, deadline_s=ask.deadline_s,
            tenant=ask.tenant, salt=ask.salt,
        )  # fmt: skip
        shared = Shared(
            request=request, ask=ask, planned=planned, tokenizer=self._tokenizer, own=shown.own, lead=lead,
            attributes=self._attributes, fingerprint=self._engine.fingerprint,
        )  # fmt: skip
        generation = BeamGeneration(shared, sink) if ask.beams > 1 else EngineGeneration(shared, sink)
        generation.begin(self._engine)
        return generation
