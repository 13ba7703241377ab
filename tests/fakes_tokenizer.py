"""A small real tokenizer: one id a byte, the two special tokens of ChatML, its template."""

from dataclasses import dataclass, field

from mainspring.schema import Message

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass
class ByteTokenizer:
    chat_template: str = CHATML
    special: dict[str, int] = field(default_factory=lambda: {"<|im_start|>": 256, "<|im_end|>": 257})
    end_ids: tuple[int, ...] = (257,)
    bos: str = ""
    eos: str = "<|im_end|>"

    def encode_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        ids, spans = [], []
        for index, character in enumerate(text):
            for byte in character.encode():
                ids.append(byte)
                spans.append((index, index + 1))
        return ids, spans


def conversations(*answers):
    """One question and answer each."""
    return [
        [Message("user", f"Question number {index}?"), Message("assistant", answer)]
        for index, answer in enumerate(answers)
    ]
