"""A chat model whose words a function decides: of what it is asked, and with which seed."""

from dataclasses import dataclass, field

from mainspring.errors import ContextLengthError
from mainspring.schema import Reply, Sampling


@dataclass
class Said:
    """A reply that is there at once."""

    text: str
    finish_reason: str = "stop"
    prompt_ids: tuple[int, ...] = ()

    def cancel(self):
        pass

    def wait(self):
        return Reply(text=self.text, ids=(), prompt_ids=(), finish_reason=self.finish_reason, usage=None)


@dataclass
class Parrot:
    """`answer(messages, sampling)` gives a text, or a Said; `asked` is what it was asked so far."""

    answer: object
    name: str = "parrot"
    default_sampling: Sampling = field(default_factory=Sampling)
    limit: int = 10_000
    asked: list = field(default_factory=list)

    def start(self, messages, sampling, sink=None, *, ask=None):
        if sum(len(each.content) for each in messages) > self.limit:
            raise ContextLengthError("The prompt is too long.")
        self.asked.append((messages, sampling))
        said = self.answer(messages, sampling)
        return said if isinstance(said, Said) else Said(said)

    def reply(self, messages, sampling):
        return self.start(messages, sampling).wait()

    def replies(self, conversations, sampling):
        return [self.reply(each, sampling) for each in conversations]


def write_prompts(path, *texts):
    import msgspec

    path.write_bytes(msgspec.json.Encoder().encode_lines([{"prompt": text} for text in texts]))
    return path
