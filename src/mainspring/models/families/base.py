"""What a family file says, and the list of those there are."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

import torch

from mainspring.errors import WeightsError
from mainspring.models.config import Activation, ModelConfig

FAMILIES = (
    "gpt2", "llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3_text", "mpt",
    "mixtral", "qwen3_moe", "deepseek_v3", "mamba2", "jamba", "qwen3_next",
    "bert", "roberta", "modernbert", "longformer", "t5", "bart", "pegasus", "lstm",
)  # fmt: skip

ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "relu": "relu",
}

Patterns = Mapping[str | tuple[str, ...], str]
"""Names of ours -> the published name; `{i}` stands for a layer, `{e}` for an expert.

Several names of ours are the rows of one published tensor, one behind the other.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One published tensor, and the weights of ours that it holds."""

    published: str
    ours: tuple[str, ...]
    is_transposed: bool = False
    is_row: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Weight names of one family.

    `body` are the weights below the head; their published names begin with `prefix` where a file holds a
    head, and may without. `heads` are the others, by the kind of head. Published matrices with the endings
    `transposed` stand as (in, out), vectors with the endings `rows` as (1, n). `unused` are patterns of
    published tensors that no forward pass needs.
    """

    body: Patterns
    heads: Mapping[str, Patterns] = field(default_factory=dict)
    prefix: str = ""
    transposed: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def entries(self, config: ModelConfig, *, prefix: str | None = None) -> list[Entry]:
        """Every published tensor of such a model; `prefix` replaces the one that goes with a head."""
        if prefix is None:
            prefix = self.prefix if config.head is not None else ""
        head = self.heads.get(config.head.kind, {}) if config.head else {}
        patterns = {ours: prefix + published for ours, published in self.body.items()} | dict(head)
        found: dict[str, Entry] = {}
        for name in weight_names(config):  # type: ignore[arg-type]  # pydantic hashes frozen models
            entry = self._entry(name, patterns)
            found[entry.published] = entry
        return list(found.values())

    def table(self, config: ModelConfig) -> dict[str, str]:
        """Our name -> published name, of the weights that are published alone."""
        return {entry.ours[0]: entry.published for entry in self.entries(config) if len(entry.ours) == 1}

    def is_unused(self, published: str) -> bool:
        return any(re.search(pattern, published) for pattern in self.unused)

    def _entry(self, name: str, patterns: Patterns) -> Entry:
        for key, published in patterns.items():
            all_ours = (key,) if isinstance(key, str) else key
            for pattern in all_ours:
                match = _compiled(pattern).fullmatch(name)
                if match:
                    numbers = match.groupdict()
                    full = published.format(**numbers)
                    return Entry(
                        published=full,
                        ours=tuple(each.format(**numbers) for each in all_ours),
                        is_transposed=full.endswith(self.transposed),
                        is_row=full.endswith(self.rows),
                    )
        raise AssertionError(f"the family's file has no published name for '{name}'")


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", re.escape(pattern)))


@lru_cache(maxsize=64)
def weight_names(config: ModelConfig) -> tuple[str, ...]:
    """Names of all weights of such a model, in the model's order."""
    from mainspring.models.model import Model

    with torch.device("meta"):
        return tuple(Model(config).state_dict())


def layers(published: str, names: Patterns, ours: str = "blocks.{i}.") -> dict[str | tuple[str, ...], str]:
    """The patterns of a layer, each name put behind what it begins with."""
    return {
        (ours + key if isinstance(key, str) else tuple(ours + each for each in key)): published + value
        for key, value in names.items()
    }


def both(names: Mapping[str, str]) -> dict[str | tuple[str, ...], str]:
    """Weight and bias of every name."""
    return {
        f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in names.items() for kind in ("weight", "bias")
    }


class Family(Protocol):
    """A family module. Where names depend on the config, it has a function `names` instead of NAMES."""

    NAMES: Names

    def config(self, published: Mapping[str, Any]) -> ModelConfig:
        """Read a published config.json."""
        ...

    def published(self, config: ModelConfig) -> dict[str, Any]:
        """Write a config.json that others read."""
        ...

    def tiny(self) -> ModelConfig:
        """A model of some thousand parameters for the tests."""
        ...


def family(name: str) -> Family:
    """The module of a family.

    Raises:
        WeightsError: an unknown family; the nearest known one is named.

    """
    if name not in FAMILIES:
        near = get_close_matches(name, FAMILIES, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise WeightsError(f"The model's family is '{name}'; {hint}known families are {', '.join(FAMILIES)}.")
    return import_module(f"mainspring.models.families.{name}")  # type: ignore[return-value]


def summary(name: str) -> str:
    """The first line of a family's file."""
    return (family(name).__doc__ or "").strip().splitlines()[0]


def names_of(config: ModelConfig) -> Names:
    """The weight names of a model."""
    kind = family(config.family)
    return kind.names(config) if hasattr(kind, "names") else kind.NAMES  # type: ignore[attr-defined]


def only(published: Mapping[str, Any], **expected: Any) -> None:
    """Refuse a config.json that sets what is not built here.

    Raises:
        WeightsError: a key has another value than the one (or one of the tuple of values) that is read.

    """
    for key, allowed in expected.items():
        values: Iterable[Any] = allowed if isinstance(allowed, tuple) else (allowed,)
        if key in published and published[key] not in values:
            raise WeightsError(
                f"config.json has {key} {published[key]!r}; read is {' or '.join(map(repr, values))}."
            )


def head_kind(published: Mapping[str, Any], architectures: Mapping[str, str]) -> str:
    """Which head a config.json's `architectures` tells of, by a table of class names; "" for none.

    Raises:
        WeightsError: a class that is not in the table.

    """
    named = (published.get("architectures") or [next(iter(architectures))])[0]
    if named not in architectures:
        raise WeightsError(
            f"config.json has the architecture '{named}'; known in this family are {', '.join(architectures)}."
        )
    return architectures[named]


def architecture(config: ModelConfig, architectures: Mapping[str, str]) -> str:
    """The class name that a published config.json has for such a head."""
    kind = config.head.kind if config.head else ""
    return next(name for name, each in architectures.items() if each == kind)


def activation(published: Mapping[str, Any], key: str, default: str = "silu") -> Activation:
    """The activation that a config.json names.

    Raises:
        WeightsError: one that is not built here.

    """
    named = published.get(key, default)
    if named not in ACTIVATIONS:
        raise WeightsError(f"config.json has {key} '{named}'; known are {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[named]


def activation_name(ours: Activation) -> str:
    """The first name that published files have for an activation."""
    return next(theirs for theirs, each in ACTIVATIONS.items() if each == ours)


def head_size(width: int, num_heads: int, num_kv_heads: int | None = None) -> int:
    """Numbers of one head where the heads share the width.

    Raises:
        WeightsError: heads that do not divide the width, or groups that do not divide the heads.

    """
    if num_heads < 1 or width % num_heads:
        raise WeightsError(
            f"config.json has {num_heads} heads for a width of {width}; the heads must divide the width. Correct it."
        )
    if num_kv_heads is not None and (num_kv_heads < 1 or num_heads % num_kv_heads):
        raise WeightsError(
            f"config.json has {num_kv_heads} key-value heads for {num_heads} heads; they must divide them. Correct it."
        )
    return width // num_heads


def num_labels(published: Mapping[str, Any]) -> int:
    """How many labels a classifying head scores, as transformers' files tell it."""
    return len(published["id2label"]) if "id2label" in published else published.get("num_labels", 2)


def labels(config: ModelConfig) -> dict[str, Any]:
    """The names of a head's labels, as others read them."""
    count = config.head.num_labels if config.head else 0
    if not count:
        return {}
    return {
        "id2label": {str(number): f"LABEL_{number}" for number in range(count)},
        "label2id": {f"LABEL_{number}": number for number in range(count)},
    }
