"""GGUF files of the Llama architecture: metadata, tensors dequantized to fp32, published names.

The layout: magic, version, counts; key-value pairs; one entry a tensor; the tensors' bytes, aligned. The
blocks are dequantized by the gguf package; the header is read here, because all its lengths must be checked.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from mainspring.errors import WeightsError
from mainspring.models.weights.base import check_size, damaged

READ_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of the file; `shape` is torch's order, `start` and `size_bytes` count bytes of the file."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    start: int
    size_bytes: int


class GgufFile:
    """The weights of a GGUF file under their published names, read one by one from the mapped file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = np.memmap(path, mode="r") if path.stat().st_size else np.empty(0, np.uint8)
        self.fields, entries = _Header(path, self._bytes).parse()
        self.architecture = self.fields.get("general.architecture")
        if self.architecture != "llama":
            raise WeightsError(f"{path} has the architecture '{self.architecture}'; only 'llama' is read.")
        self._entries = {_published_name(entry.name, path): entry for entry in entries}
        self.shapes = {name: entry.shape for name, entry in self._entries.items()}

    def read(self, name: str) -> torch.Tensor:
        """One tensor in fp32, its rows in the published order."""
        entry = self._entries[name]
        raw = self._bytes[entry.start : entry.start + entry.size_bytes]
        rows = raw.reshape(*entry.shape[:-1], -1)
        if entry.type.name in ("F32", "F16"):
            rows = rows.view("<f4" if entry.type.name == "F32" else "<f2")
        values = torch.from_numpy(np.array(dequantize(rows, entry.type), dtype=np.float32))
        heads = {"attn_q": "head_count", "attn_k": "head_count_kv"}.get(entry.name.split(".")[-2])
        return values if heads is None else _unpermute(values, self._number(f"attention.{heads}"))

    def published_config(self) -> dict[str, Any]:
        """The config.json that the metadata tells of."""
        num_heads = self._number("attention.head_count")
        width = self._number("embedding_length")
        if self.fields.get("llama.rope.scaling.type", "none") != "none":
            raise WeightsError(f"{self._path} scales its rotary positions; only unscaled ones are read.")
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.shapes["model.embed_tokens.weight"][0],
            "hidden_size": width,
            "intermediate_size": self._number("feed_forward_length"),
            "num_hidden_layers": self._number("block_count"),
            "num_attention_heads": num_heads,
            "num_key_value_heads": self.fields.get("llama.attention.head_count_kv", num_heads),
            "head_dim": self.fields.get("llama.attention.key_length", width // num_heads),
            "hidden_act": "silu",
            "max_position_embeddings": self._number("context_length"),
            "rms_norm_eps": _shortest(self.fields.get("llama.attention.layer_norm_rms_epsilon", 1e-5)),
            "rope_theta": _shortest(self.fields.get("llama.rope.freq_base", 10_000.0)),
            "tie_word_embeddings": "lm_head.weight" not in self.shapes,
            "attention_bias": False,
            "mlp_bias": False,
            "bos_token_id": self.fields.get("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self.fields.get("tokenizer.ggml.eos_token_id"),
            "torch_dtype": "float32",
        }

    def _number(self, key: str) -> int:
        value = self.fields.get(f"llama.{key}")
        if not isinstance(value, int):
            raise WeightsError(f"{self._path} says {value!r} for 'llama.{key}'; a whole number is needed.")
        return value


class _Header:
    """Reads a header front to back; any length that leads out of the file is an error."""

    def __init__(self, path: Path, data: np.ndarray) -> None:
        self._path, self._data, self._at = path, data.data, 0

    def parse(self) -> tuple[dict[str, Any], list[Entry]]:
        if bytes(self._data[:4]) != b"GGUF":
            raise damaged(self._path, f"it begins with {bytes(self._data[:4])!r}, not b'GGUF'")
        self._at = 4
        version = self._scalar("I")
        if version not in VERSIONS:
            raise WeightsError(f"{self._path} is GGUF version {version}; versions 2 and 3 are read.")
        num_tensors, num_fields = self._scalar("Q"), self._scalar("Q")
        fields = {self._string(): self._value(self._scalar("I")) for _ in range(num_fields)}
        raw = [self._tensor() for _ in range(num_tensors)]
        align = fields.get("general.alignment", 32)
        start = -(-self._at // align) * align
        entries = [self._entry(start, *each) for each in raw]
        check_size(self._path, max((entry.start + entry.size_bytes for entry in entries), default=start))
        return fields, entries

    def _take(self, size_bytes: int) -> memoryview:
        end = self._at + size_bytes
        if end > len(self._data):
            raise damaged(
                self._path, f"its header should go on to byte {end:,} at least, where the file has ended"
            )
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def _scalar(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def _string(self) -> str:
        try:
            return str(self._take(self._scalar("Q")), "utf-8")
        except UnicodeDecodeError as error:
            raise damaged(self._path, f"text before byte {self._at:,} is not UTF-8") from error

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            of, length = self._scalar("I"), self._scalar("Q")
            if of in SCALARS:
                size_bytes = struct.calcsize(SCALARS[of])
                piece = self._take(length * size_bytes)
                return list(struct.unpack(f"<{length}{SCALARS[of]}", piece))
            return [self._value(of) for _ in range(length)]
        if kind not in SCALARS:
            raise damaged(
                self._path, f"byte {self._at:,} speaks of a value of kind {kind}, which there is not"
            )
        return self._scalar(SCALARS[kind])

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        shape = tuple(self._scalar("Q") for _ in range(self._scalar("I")))
        return name, shape[::-1], self._scalar("I"), self._scalar("Q")

    def _entry(self, start: int, name: str, shape: tuple[int, ...], kind: int, offset: int) -> Entry:
        known = {each.value: each for each in GGMLQuantizationType}
        name_of = known[kind].name if kind in known else f"number {kind}"
        if name_of not in READ_TYPES:
            raise WeightsError(
                f"Tensor '{name}' of {self._path} is of type {name_of}; read are {', '.join(READ_TYPES)}. "
                "Take a file that was quantized to one of these."
            )
        block, block_bytes = GGML_QUANT_SIZES[known[kind]]
        num_values = int(np.prod(shape, dtype=object))
        if not shape or shape[-1] % block:
            raise damaged(self._path, f"tensor '{name}' of shape {shape} does not fit blocks of {block}")
        size_bytes = num_values // block * block_bytes
        return Entry(name=name, shape=shape, type=known[kind], start=start + offset, size_bytes=size_bytes)


def _published_name(name: str, path: Path) -> str:
    if name in TOP:
        return TOP[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in LAYER and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{LAYER[parts[2]]}.weight"
    raise WeightsError(f"{path} has a tensor '{name}', which no model of the Llama family here has.")


def _unpermute(rows: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Undo GGUF's order of query and key rows: pairs that rotate together stand K/2 apart again."""
    size = rows.shape[0] // num_heads
    return rows.view(num_heads, size // 2, 2, -1).transpose(1, 2).reshape(rows.shape)


def _shortest(value: float) -> float:
    """The number that an fp32 was written for: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))
