"""What a grounded model is told: a short instruction, the passages, then the question.

Short on purpose: a small model follows the text nearest to its answer, and every passage costs time on a CPU.
"""

from collections.abc import Sequence

import pydantic

from mainspring.config import Config
from mainspring.schema import Hit, Message


class Example(Config):
    """A question answered as wanted, shown to the model before the real one."""

    question: str = pydantic.Field(description="The question.")
    passages: tuple[str, ...] = pydantic.Field(
        description="The passages it was answered from, as they are shown."
    )
    answer: str = pydantic.Field(description="The wanted answer.")


class GroundedPrompt(Config):
    """A prompt that answers from passages; `model_dump` and `model_validate` carry it through an artifact.

    >>> GroundedPrompt().messages("Who?", [])[-1].content
    'Question: Who?'
    """

    system: str = pydantic.Field(
        default="Answer the question with the passages only.",
        description="The instruction that every prompt begins with.",
    )
    brief: str = pydantic.Field(
        default="Answer in a few words, copied from the passages.",
        description="The form of the answer, added to the instruction.",
    )
    passage: str = pydantic.Field(
        default="{title}: {text}", description="One passage; {title}, {heading} and {text} are filled in."
    )
    question: str = pydantic.Field(
        default="{passages}\n\nQuestion: {question}",
        description="The user's turn; {passages} and {question} are filled in.",
    )
    examples: tuple[Example, ...] = pydantic.Field(
        default=(), description="Examples, shown as turns before the question."
    )
    max_history: int = pydantic.Field(
        default=2, ge=0, description="How many messages of the conversation before the question are shown."
    )

    def messages(
        self, question: str, hits: Sequence[Hit], history: Sequence[Message] = ()
    ) -> tuple[Message, ...]:
        """The conversation that the model is to continue."""
        told = " ".join(part for part in (self.system, self.brief) if part)
        turns = [Message(role="system", content=told)] if told else []
        for example in self.examples:
            turns.append(Message(role="user", content=self._ask(example.question, example.passages)))
            turns.append(Message(role="assistant", content=example.answer))
        recent = list(history[-self.max_history :] if self.max_history else ())
        while recent and recent[0].role != "user":
            recent.pop(0)
        return (*turns, *recent, Message(role="user", content=self._ask(question, self.show(hits))))

    def show(self, hits: Sequence[Hit]) -> tuple[str, ...]:
        """The passages of hits as the model sees them, also for an example made from them."""
        return tuple(
            _fill(
                self.passage,
                {
                    "title": hit.chunk.title,
                    "heading": hit.chunk.heading,
                    "text": " ".join(hit.chunk.text.split()),
                },
            )
            for hit in hits
        )

    def _ask(self, question: str, passages: Sequence[str]) -> str:
        return _fill(self.question, {"passages": "\n".join(passages), "question": question}).strip()


def _fill(template: str, values: dict[str, str]) -> str:
    """Fill names in braces, once, and leave every other brace as it is: documents are full of them."""
    parts, rest = [], template
    while rest:
        place, name = min(
            ((rest.find("{" + name + "}"), name) for name in values if "{" + name + "}" in rest),
            default=(len(rest), ""),
        )
        parts += [rest[:place], values.get(name, "")]
        rest = rest[place + len(name) + 2 :] if name else ""
    return "".join(parts)
