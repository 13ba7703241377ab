"""What the metadata of a GGUF file say of its tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mainspring.errors import WeightsError

PREFIX = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
SPACE = "\u2581"  # how pieces write a space


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Tokens in the order of their ids, and of which type each is."""

    fields: Mapping[str, Any]
    tokens: list[str]
    types: list[int]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "Vocabulary":
        """Check and take what every kind of tokenizer needs.

        Raises:
            WeightsError: a field that is missing or of another length than the tokens.

        """
        tokens = needed(fields, "tokens")
        if not all(isinstance(token, str) for token in tokens):
            raise WeightsError("The GGUF file's tokens are not all texts, so its tokenizer cannot be built.")
        return cls(fields=fields, tokens=tokens, types=_beside(tokens, fields, "token_type"))

    @property
    def scores(self) -> list[float]:
        """How likely each token is."""
        return _beside(self.tokens, self.fields, "scores")

    def get(self, key: str, default: Any = None) -> Any:
        return self.fields.get(PREFIX + key, default)

    def of_type(self, *types: int) -> list[str]:
        return [token for token, kind in zip(self.tokens, self.types, strict=True) if kind in types]

    def named(self, *roles: str) -> str:
        """The token that has the first of these roles, "" if none has.

        Raises:
            WeightsError: an id behind the last token's.

        """
        for role in roles:
            token_id = self.get(f"{role}_token_id")
            if token_id is None:
                continue
            if not 0 <= token_id < len(self.tokens):
                raise WeightsError(
                    f"The GGUF file's {role} token is number {token_id}, but it has {len(self.tokens):,} tokens."
                )
            return self.tokens[token_id]
        return ""

    @property
    def unknown(self) -> str:
        """The token for text that no other covers, "" where there is none."""
        return self.named("unknown") or next(iter(self.of_type(UNKNOWN)), "")


def needed(fields: Mapping[str, Any], key: str) -> list[Any]:
    """A list of the metadata.

    Raises:
        WeightsError: there is none.

    """
    value = fields.get(PREFIX + key)
    if not isinstance(value, list):
        raise WeightsError(f"The GGUF file has no field '{PREFIX}{key}', which its tokenizer needs.")
    return value


def _beside(tokens: list[str], fields: Mapping[str, Any], key: str) -> list[Any]:
    values = needed(fields, key)
    if len(values) != len(tokens):
        raise WeightsError(
            f"The GGUF file has {len(tokens):,} tokens, but {len(values):,} of '{PREFIX}{key}'."
        )
    return values
