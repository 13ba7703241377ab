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
from mainspring.infer.generation import EngineGeneration, Shared, seed_of
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import Request
from mainspring.infer.tools.plan import ToolPlan, plan
from mainspring.protocols import PLAIN, Sink
from mainspring.schema import ALL_THAT_FIT, Ask, Message, Reply, Sampling
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.stream import showing

MAX_REPLIES = 128


class EngineChat:
    """One model of an engine, with one of its adapters or none; implements `protocols.TextModel`.

    `max_unasked` is the most tokens of a reply that may be as long as fits; 0: the context alone bounds it.
    """

    def __init__(
        self,
        name: str,
        engine: AnyEngine,
        tokenizer: Tokenizer,
        plan: KernelPlan,
        *,
        model: str,
        adapter: str | None = None,
        sampling: Sampling | None = None,
        max_unasked: int = 0,
    ) -> None:
        self.name, self.default_sampling = name, sampling or Sampling()
        self._engine, self._tokenizer, self._plan = engine, tokenizer, plan
        self._model, self._adapter, self._max_unasked = model, adapter, max_unasked

    @property
    def context(self) -> int:
        """The most ids that a prompt and its reply may have together."""
        return self._engine.context

    def start(
        self, messages: Sequence[Message], sampling: Sampling, sink: Sink | None = None, *, ask: Ask = PLAIN
    ) -> EngineGeneration:
        """Begin a reply; see `protocols.ChatModel.start`."""
        if sampling.max_tokens < 1:
            raise ConfigError(f"`max_tokens` is {sampling.max_tokens}; a reply needs 1 or more.")
        planned = self._plan_tools(ask)
        return self._begin(self._render(messages, planned, ask), sampling, sink, ask, planned)

    def complete(
        self, prompt: str | Sequence[int], sampling: Sampling, sink: Sink | None = None, *, ask: Ask = PLAIN
    ) -> EngineGeneration:
        """Begin to continue a prompt as it stands; `max_tokens` 0 only scores it (`prompt_logprobs`).

        Text gets before it what the model's own files put there, such as a bos token; ids stay as they are.
        """
        if ask.tools:
            raise ConfigError("Tools were given with a raw prompt; only messages can be answered with tools.")
        ids = (
            [*self._tokenizer.opening_ids, *self.encode(prompt)] if isinstance(prompt, str) else list(prompt)
        )
        size = self._tokenizer.vocab_size
        wrong = next((each for each in ids if not 0 <= each < size), None)
        if wrong is not None:
            raise ConfigError(f"The prompt holds the id {wrong}; this model's ids go from 0 to {size - 1:,}.")
        return self._begin(ids, sampling, sink, ask, ToolPlan(constraint=ask.constraint))

    def prompt_ids(self, messages: Sequence[Message], ask: Ask = PLAIN) -> list[int]:
        """The ids that the model is shown for messages."""
        return self._render(messages, self._plan_tools(ask), ask)

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

    def _plan_tools(self, ask: Ask) -> ToolPlan:
        return plan(ask, self._tokenizer.chat_template)

    def _render(self, messages: Sequence[Message], planned: ToolPlan, ask: Ask) -> list[int]:
        tools, go_on = planned.shown, ask.go_on
        return chat.render(messages, self._tokenizer, open_reply=not go_on, go_on=go_on, tools=tools).ids

    def _begin(
        self, ids: Sequence[int], sampling: Sampling, sink: Sink | None, ask: Ask, planned: ToolPlan
    ) -> EngineGeneration:
        if sampling.max_tokens == ALL_THAT_FIT:
            room = max(self.context - len(ids), 1)
            sampling = msgspec.structs.replace(sampling, max_tokens=min(room, self._max_unasked or room))
        asked = msgspec.structs.replace(sampling, max_tokens=max(sampling.max_tokens, 1))
        samplings.check(asked, vocab_size=self._tokenizer.vocab_size)
        num = max(ask.n, ask.best_of)
        if not 1 <= ask.n <= num <= MAX_REPLIES:
            raise ConfigError(
                f"`n` is {ask.n} and `best_of` {ask.best_of}; they must be from 1 to {MAX_REPLIES}."
            )
        shared = Shared(
            prompt_ids=tuple(ids), sampling=sampling, tokenizer=self._tokenizer,
            decoder=showing(self._tokenizer, planned.special), attributes=self._attributes(),
            fingerprint=self._engine.fingerprint, max_calls=planned.max_calls,
        )  # fmt: skip
        request = Request(
            ids=shared.prompt_ids, sampling=asked, end_ids=self._tokenizer.end_ids, adapter=self._adapter,
            constraint=planned.constraint, priority=ask.priority, deadline_s=ask.deadline_s, tenant=ask.tenant,
            salt=ask.salt,
        )  # fmt: skip
        if ask.beams > 1:
            beams = BeamGeneration(shared, ask, planned, sink)
            beams.begin(self._engine, [request])
            return beams
        generation = EngineGeneration(shared, num, ask.n, planned.parser, sink)
        generation.begin(self._engine, _copies(request, num))
        return generation

    def _attributes(self) -> dict[str, str | None]:
        return {
            trace.ENGINE_MODE: self._plan.mode,
            trace.ENGINE_BACKEND: self._engine.backend_name,
            trace.KERNEL_PLAN: self._plan.fingerprint,
            trace.MODEL_ARTIFACT: self._model,
            trace.ADAPTER: self._adapter,
        }


def _copies(request: Request, num: int) -> list[Request]:
    """The same request with a seed each; the prompt is scored with the first alone."""
    replace = msgspec.structs.replace
    first = replace(request.sampling, seed=seed_of(request.sampling.seed, 0))
    unscored = replace(first, prompt_logprobs=None)
    later = [replace(unscored, seed=seed_of(first.seed, index)) for index in range(1, num)]
    return [replace(request, sampling=sampling) for sampling in (first, *later)]
