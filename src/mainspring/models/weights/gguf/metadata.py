"""The metadata of a GGUF file, asked for by name: what is missing, absurd or not understood is an error."""

from typing import Any

import numpy as np

from mainspring.errors import WeightsError
from mainspring.models.weights.gguf.file import GgufFile

HARMLESS = ("vocab_size", "tensor_data_layout")  # told by the tensors themselves, or of how they were made


class Metadata:
    """What a file says of its model; the keys here are those behind the architecture's name."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        self.architecture = str(file.fields.get("general.architecture"))
        self._asked: set[str] = set(HARMLESS)

    def get(self, key: str, default: Any = None) -> Any:
        self._asked.add(key)
        return self.file.fields.get(f"{self.architecture}.{key}", default)

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number above zero.

        Raises:
            WeightsError: it is missing and there is no default, or something else stands there.

        """
        value = self.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.wrong(key, value, "a whole number above zero is needed")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """The number that an fp32 was written for: 1e-05, not 9.999999747378752e-06."""
        value = self.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(key, value, "a number is needed")
        return float(str(np.float32(value)))

    def optional(self, key: str) -> float | None:
        """The same, None where it is missing."""
        return None if self.get(key) is None else self.number(key)

    def count(self, key: str, most: int) -> int:
        """A whole number that the file's own tensors bound, so that nothing is laid out for an absurd one."""
        value = self.whole(key)
        if value > most:
            raise self.wrong(key, value, f"the file has tensors for {most:,} at most")
        return value

    @property
    def num_blocks(self) -> int:
        """How many layers there are; each has a tensor at least."""
        return self.count("block_count", len(self.file.shapes))

    def has(self, tensor: str) -> bool:
        return tensor in self.file.shapes

    def rows(self, tensor: str) -> int:
        """How many rows a tensor has.

        Raises:
            WeightsError: the file has no such tensor.

        """
        if not self.has(tensor):
            raise WeightsError(
                f"{self.file.path} has no tensor '{tensor}', which every model of the architecture "
                f"'{self.architecture}' has."
            )
        return self.file.shapes[tensor][0]

    def window(self) -> int | None:
        """How many tokens a token sees; zero stands for all of them."""
        return self.whole("attention.sliding_window") if self.get("attention.sliding_window") else None

    def token_id(self, role: str, default: int | None = None) -> int | None:
        return self.file.fields.get(f"tokenizer.ggml.{role}_token_id", default)

    def expect(self, key: str, *values: Any) -> None:
        """Refuse a value other than these; a missing one is the first."""
        value = self.get(key, values[0])
        if value not in values:
            raise self.wrong(key, value, f"read is {' or '.join(map(repr, values))}")

    def check_understood(self) -> None:
        """Refuse keys of the architecture that nothing has asked for: they may change what the model computes."""
        prefix = f"{self.architecture}."
        for key, value in self.file.fields.items():
            if key.startswith(prefix) and key.removeprefix(prefix) not in self._asked and value:
                raise self.wrong(key.removeprefix(prefix), value, "what that means is not built here")

    def wrong(self, key: str, value: Any, why: str) -> WeightsError:
        """The error for a value; long ones are cut."""
        shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:60]}..."
        return WeightsError(f"{self.file.path} says {shown} for '{self.architecture}.{key}'; {why}.")
