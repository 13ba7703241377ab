"""A chat model that says what a function makes of the last message, at once and as a whole."""

from dataclasses import dataclass, field

from mainspring.schema import Reply, Sampling, Usage


@dataclass
class Saying:
    """A Reply as it is, or the text of one that ended by itself."""

    answer: object
    name: str = "saying"
    default_sampling: Sampling = field(default_factory=Sampling)
    asked: list = field(default_factory=list)

    def reply(self, messages, sampling):
        self.asked.append((messages[-1].content, sampling))
        said = self.answer(messages[-1].content, sampling)
        return said if isinstance(said, Reply) else reply(said)

    def replies(self, conversations, sampling):
        return [self.reply(messages, sampling) for messages in conversations]


def reply(text, finish_reason="stop"):
    return Reply(text=text, ids=(), prompt_ids=(), finish_reason=finish_reason, usage=Usage())
