"""What a model costs, counted from its config alone: parameters by part, memory, cache and work a token.

Nothing is loaded: the modules are built on torch's meta device, which has shapes and no memory.
"""

from collections import Counter
from dataclasses import dataclass

import torch

from mainspring.models.config import ModelConfig, StackSpec
from mainspring.models.model import Model

BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5}
PARTS = {"mixer": "mixers", "cross": "cross attention", "ffn": "feed-forward"}
MEMORY_FORMULA = "parameters x bytes of the type; scales of int8 and int4 come on top"
CACHE_FORMULA = (
    "sum over layers of what a token leaves in the cache x bytes; a window holds no more than its tokens"
)
WORK_FORMULA = (
    "2 x weights that multiply a token + 4 x heads x head size x keys seen, over layers; with latents, "
    "2 x heads x (2 x latent + rotated size) x keys seen; with states, 6 x their numbers (Mamba-2: 5 x, "
    "delta rule: 8 x) + 2 x convolved channels x tokens convolved"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What `mainspring models describe` tells.

    memory_bytes: of the weights, by type. cache_bytes: of one token, at 4 and at 2 bytes a number.
    state_bytes: of one sequence, whatever its length, in fp32. work_flops: of one token's forward pass when
    `at_tokens` stand before it.
    """

    family: str
    context: int
    layers: int
    parameters: int
    active_parameters: int
    parts: dict[str, int]
    memory_bytes: dict[str, int]
    cache_bytes: dict[str, int]
    state_bytes: int
    at_tokens: int
    work_flops: int
    kinds: dict[str, int]


def describe(config: ModelConfig, *, at_tokens: int | None = None) -> Description:
    """Count everything of a model; `at_tokens` defaults to its whole context."""
    with torch.device("meta"):
        model = Model(config)
    seen = config.context if at_tokens is None else min(at_tokens, config.context)
    total = sum(parameter.numel() for parameter in model.parameters())
    stacks: list[StackSpec] = [config, *([config.encoder] if config.encoder else [])]
    mixers = [block.mixer for stack in stacks for block in stack.blocks]
    cached = sum(block.mixer.cached_numbers for block in config.blocks) if config.is_causal else 0
    idle = _idle(model, stacks)
    return Description(
        family=config.family,
        context=config.context,
        layers=len(mixers),
        parameters=total,
        active_parameters=total - idle,
        parts=_by_part(model),
        memory_bytes={name: int(total * size) for name, size in BYTES.items()},
        cache_bytes={name: int(cached * BYTES[name]) for name in ("fp32", "bf16")},
        state_bytes=4 * sum(mixer.state_numbers for mixer in mixers),
        at_tokens=seen,
        work_flops=2 * (_multiplying(model) - idle) + sum(mixer.work(seen) for mixer in mixers),
        kinds=dict(Counter(_kind(mixer) for mixer in mixers)),
    )


def _by_part(model: Model) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        counts[_part(name)] += parameter.numel()
    return dict(counts.most_common())


def _part(name: str) -> str:
    pieces = name.split(".")
    side = "encoder's " if pieces[0] == "encoder" else ""
    if "norm" in name:
        return f"{side}norms"
    if "blocks" in pieces:
        return side + PARTS[pieces[pieces.index("blocks") + 2]]
    return {"embedding": "embedding", "head": "head"}.get(pieces[0], f"{side}positions and types")


def _multiplying(model: Model) -> int:
    """Weights of matrices that a token is multiplied with; a tied embedding is one, as the head."""
    matrices = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2
        and not name.endswith(("embedding.weight", "positions.weight", "types.weight", "a_log"))
    )
    head = model.config.head
    return matrices + (model.embedding.weight.numel() if head is not None and head.tied else 0)


def _idle(model: Model, stacks: list[StackSpec]) -> int:
    """Weights of experts that a token does not reach."""
    return sum(
        block.ffn.idle_parameters(model.config.width) for s in stacks for block in s.blocks if block.ffn
    )


def _kind(mixer: object) -> str:
    window = getattr(mixer, "window", None)
    kind = getattr(mixer, "kind", "attention")
    return kind if window is None else f"{kind}, window {window:,}"
