"""Text to token ids and back: the Rust tokenizers, with the model's template and special tokens.

Text never forges a special token: `<|im_end|>` in a document is encoded as the characters it is made of. What
puts special tokens between texts is chat.render, which looks their ids up in `special`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

from mainspring.artifact import fingerprint_of
from mainspring.errors import WeightsError
from mainspring.tokenizer import fill
from mainspring.tokenizer.pieces import bytes_of

LEAD = "☺"  # nothing merges with it; Code Llama and Mistral encode what follows a gap behind it
# Names under which models end a turn where that is not their eos token.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")


class Tokenizer:
    """A tokenizer, its chat template and its special tokens; satisfies chat.ChatTokenizer.

    Args:
        backend: the compiled tokenizer; its special tokens are those it marks as such, and those of fill.py.
        bos: what begins a text, "" for nothing; `[CLS]` for BERT.
        eos: what ends a text or a turn, "" for nothing; `[SEP]` for BERT.
        chat_template: the model's Jinja text, "" for a model that does not chat.
        max_length: the most ids that the model takes, None where that is not known.

    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        bos: str = "",
        eos: str = "",
        chat_template: str = "",
        max_length: int | None = None,
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True
        self._backend = backend
        self.bos, self.eos, self.chat_template, self.max_length = bos, eos, chat_template, max_length
        added = backend.get_added_tokens_decoder()
        # Qwen and DeepSeek publish theirs as plain ones, which text would forge and answers would show.
        backend.add_special_tokens([each.content for each in added.values() if each.content in fill.NAMES])
        added = backend.get_added_tokens_decoder()
        self.special: dict[str, int] = {
            token.content: token_id for token_id, token in added.items() if token.special
        }
        for role, text in (("bos", bos), ("eos", eos)):
            if text and text not in self.special:
                raise WeightsError(
                    f"The tokenizer's {role} token is '{text}', which is not among its special tokens "
                    f"({', '.join(self.special) or 'it has none'}). Correct tokenizer_config.json."
                )
        ends = [self.special[name] for name in (eos, *TURN_ENDS) if name in self.special]
        self.end_ids: tuple[int, ...] = tuple(dict.fromkeys(ends))

    @property
    def vocab_size(self) -> int:
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def is_byte_level(self) -> bool:
        """Whether ids stand for bytes, so that texts of ids can be joined at any character's end."""
        return isinstance(self._backend.decoder, tokenizers.decoders.ByteLevel)

    @property
    def source(self) -> str:
        """The text of tokenizer.json, which libraries that compile a vocabulary take."""
        return self._backend.to_str()

    @property
    def fingerprint(self) -> str:
        """A hash over all that decides which ids a text or a conversation becomes."""
        backend = json.loads(self._backend.to_str())
        return fingerprint_of([backend, self.chat_template, self.special, self.bos, self.eos])

    @property
    def opening_ids(self) -> list[int]:
        """What the model's own files put before every text: often nothing, or the bos token."""
        encoding = self._backend.encode("a", add_special_tokens=True)
        return encoding.ids[: encoding.special_tokens_mask.index(0)]

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; special-token text in it stays text, nothing is added at its ends."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def encode_on(self, text: str) -> list[int]:
        """Ids of text that goes on from other text; see lead_ids."""
        lead = self.lead_ids
        return self.encode(LEAD + text if lead else text)[len(lead) :]

    @property
    def lead_ids(self) -> list[int]:
        """Ids to stand before what goes on from other text; none where ids are bytes.

        SentencePiece begins every text with a space, and drops one from all that it decodes.
        """
        return [] if self.is_byte_level else self.encode(LEAD)

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The same for many texts, on all cores."""
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of plain text and the characters (start, end) that each of them covers.

        Ids that share one character, as the bytes of an emoji do, have the same span.
        """
        encoding = self._backend.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special tokens are left out, bytes that are no UTF-8 become U+FFFD."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that an id stands for; of a special token, its name."""
        piece = self._backend.id_to_token(token_id)
        if piece is None:
            return b""
        if piece in self.special:
            return piece.encode()
        return bytes_of(piece, is_byte_level=self.is_byte_level)

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, tokenizer_config.json and chat_template.jinja, as others read them too."""
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "bos_token": self.bos or None,
            "eos_token": self.eos or None,
            "pad_token": self.eos or None,
        }
        if self.max_length is not None:
            config["model_max_length"] = self.max_length
        self._backend.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        if self.chat_template:
            (folder / "chat_template.jinja").write_text(self.chat_template, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read the published files of a tokenizer.

        Raises:
            WeightsError: a file that is missing or damaged.

        """
        config = _read_json(folder / "tokenizer_config.json")
        path = folder / "tokenizer.json"
        try:
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise WeightsError(
                f"{path} is missing; a model's folder must hold tokenizer.json. Fetch the model again."
            ) from None
        except Exception as error:  # the Rust side raises nothing narrower
            raise WeightsError(
                f"{path} is not a tokenizer that can be read: {error}. Fetch the model again."
            ) from error
        limit = config.get("model_max_length")
        return cls(
            backend,
            bos=_token(config, "bos_token", "cls_token"),
            eos=_token(config, "eos_token", "sep_token"),
            chat_template=_template(folder, config),
            max_length=limit if isinstance(limit, int) and limit < 10**9 else None,
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON: {error}. Fetch the model again.") from error


def _token(config: dict[str, Any], *keys: str) -> str:
    for key in keys:
        value = config.get(key)
        if value:
            return value["content"] if isinstance(value, dict) else str(value)
    return ""


def _template(folder: Path, config: dict[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template") or ""
    if isinstance(template, list):
        template = next((each["template"] for each in template if each.get("name") == "default"), "")
    return template
