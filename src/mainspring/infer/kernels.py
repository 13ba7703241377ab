"""Which numbers of rows a matrix product may have so that a row's bits depend on that row alone.

The exact mode stands on this. On CPUs a product's bits change with its number of rows, because libraries choose other
kernels for other shapes; but within a class of row counts they agree. Activations can differ too: the last values of a
thread's share are computed without vector instructions, and with five threads or more a share may end within a row.
The class is found by a probe, on the shapes of the model itself, kept as an artifact and named in every trace. The
whole claim (1 to 512 rows, hostile neighbors) is tested in tests/infer/test_kernels.py.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from mainspring import device
from mainspring.errors import ConfigError, MainspringError
from mainspring.infer import packed
from mainspring.infer.kernel_plan import KernelPlan, Products
from mainspring.infer.layout import kv_layout
from mainspring.infer.packed import Product
from mainspring.models.attend import Run
from mainspring.models.cache import CachedAttend
from mainspring.models.config import AttentionSpec, FfnSpec, MixerSpec, MoeSpec
from mainspring.models.mixer_specs import DeltaSpec, Mamba2Spec
from mainspring.models.model import Model
from mainspring.models.parts.base import Pass
from mainspring.models.parts.ffn import ACTIVATIONS
from mainspring.models.parts.latent import LatentAttention
from mainspring.models.parts.moe import route
from mainspring.models.parts.norm import build_norm
from mainspring.progress import say

CLASSES = ((8, 512), (8, 256), (8, 128), (8, 64), (8, 32), (32, 512), (32, 32), (8, 8))
"""Multiples and most rows, the best first."""
COUNTS = (8, 16, 24, 32, 40, 48, 56, 64, 96, 128, 192, 256, 384, 512)
NUM_SEQUENCES = (1, 2, 3, 8, 32)
ATTENTION_CHUNK = 128
STATE_ROWS = 64
"""Sequences that go through states side by side at most: there may be many numbers in a state."""
HOSTILE_EVERY = 5
NUM_NARROW = 64
NUM_STATES = (1, 2, 3, 4, 5, 8, 9, 16, 33, 64)
"""Sequences that go through a state side by side are not filled up: a state may be large."""
NO_TABLES = (torch.empty(0), torch.empty(0))

Case = tuple[Product, int, Sequence[int]]
"""One kernel, the width of the rows it takes and the numbers of rows it will meet."""


def probe(model: Model, products: Products = "plain") -> KernelPlan:
    """Find which weights are to be packed, and the widest class of row counts whose bits agree for every kernel.

    Raises:
        MainspringError: not even products of one fixed size keep rows apart on this machine.

    """
    say("kernel plan: measuring which products are exact and fast here, once for a model and a machine")
    machine, ways = device.describe(), dict.fromkeys((_packed(model, products), ()))
    for shapes, (multiple, limit) in itertools.product(ways, CLASSES):
        plan = KernelPlan(
            multiple=multiple, limit=limit, machine=machine, torch=torch.__version__,
            threads=torch.get_num_threads(), products=products, packed=shapes,
        )  # fmt: skip
        if all(rows_agree(*case) for case in _cases(model, plan)):
            return plan
    raise MainspringError(
        f"None of {COUNTS} rows keeps the rows of a product apart with torch {torch.__version__} and "
        f"{torch.get_num_threads()} threads, so answers could not be repeated exactly. Set another number of "
        "threads (OMP_NUM_THREADS)."
    )


def _packed(model: Model, products: Products) -> tuple[str, ...]:
    """The shapes of weights to pack."""
    if products != "plain" and packed.is_available():
        return tuple(packed.all_shapes(model) if products == "packed" else packed.faster(model))
    if products == "packed":
        raise ConfigError(
            "`engine.products` is packed, but this torch has no oneDNN for processors. Set it to measured or plain."
        )
    return ()


def linears_agree(weights: Iterable[torch.Tensor], plan: KernelPlan) -> bool:
    """Whether products with an adapter's factors keep to the plan, also where they are added to what is there."""
    by_shape = {weight.shape: weight for weight in weights}
    return all(
        rows_agree(partial(product, weight=weight), weight.shape[1], _counts(plan))
        for weight in by_shape.values()
        for product in (functional.linear, _added)
    )


@torch.inference_mode()
def rows_agree(product: Product, width: int, counts: Sequence[int]) -> bool:
    """Whether a row gets the same bits in every place, beside any neighbors, for all these row counts."""
    generator = torch.Generator().manual_seed(0)
    row_W = torch.randn(width, generator=generator)
    expected: torch.Tensor | None = None
    for count in counts:
        x_RW = row_W.repeat(count, 1)
        hostile = torch.arange(count) % HOSTILE_EVERY == 2
        x_RW[hostile] = torch.randn(int(hostile.sum()), width, generator=generator) * 1e3
        x_RW[2:3] = torch.nan
        y_PN = product(x_RW)[~hostile]
        expected = y_PN[0] if expected is None else expected
        if not torch.equal(y_PN, expected.expand_as(y_PN)):
            return False
    return True


def _added(x_RW: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(x_RW), len(weight)).addmm_(x_RW, weight.t())


def _every_count(plan: KernelPlan) -> Sequence[int]:
    return range(plan.multiple, plan.limit + 1, plan.multiple)


def _counts(plan: KernelPlan) -> list[int]:
    return [count for count in COUNTS if count in _every_count(plan)]


def _cases(model: Model, plan: KernelPlan) -> Iterator[Case]:
    """One for every distinct shape; the cheap ones first."""
    config, width = model.config, model.config.width
    for ffn in dict.fromkeys(block.ffn for block in config.blocks if block.ffn):
        yield from _ffn_cases(ffn, _every_count(plan))
    for norm in dict.fromkeys(block.norm for block in config.blocks):
        yield build_norm(norm, width), width, _every_count(plan)
    if config.head is not None and config.head.softcap is not None:
        yield torch.tanh, config.vocab_size, _counts(plan)
    parts = [block.get_submodule("mixer") for block in model.blocks]
    for spec, mixer in {block.mixer: part for block, part in zip(config.blocks, parts, strict=True)}.items():
        if spec.state_numbers:
            yield partial(_some_tokens, mixer=mixer, plan=plan), 2 * width, NUM_STATES
            yield from _state_cases(spec, plan)
        else:
            yield from _attention_cases(spec, plan)
        if isinstance(mixer, LatentAttention):
            yield from _absorbed_cases(mixer, _counts(plan))
    products = [module.weight for module in model.modules() if isinstance(module, (nn.Linear, nn.Embedding))]
    for weight in {each.shape: each for each in products}.values():
        yield partial(functional.linear, weight=weight), weight.shape[1], _counts(plan)
        if packed.shape_name(weight) in plan.packed:
            yield packed.pack(weight), weight.shape[1], _counts(plan)


def _state_cases(spec: MixerSpec, plan: KernelPlan) -> Iterator[Case]:
    """What a mixer with a state does to its few numbers a head."""
    if isinstance(spec, Mamba2Spec | DeltaSpec):
        for function, counts in (
            (functional.softplus, _every_count(plan)), (torch.sigmoid, _every_count(plan)), (torch.exp, NUM_STATES),
        ):  # fmt: skip
            narrow = partial(_narrow, function=function, width=spec.num_heads)
            yield narrow, NUM_NARROW * spec.num_heads, counts


def _ffn_cases(ffn: FfnSpec | MoeSpec, counts: Sequence[int]) -> Iterator[Case]:
    if isinstance(ffn, FfnSpec):
        yield ACTIVATIONS[ffn.activation], ffn.hidden, counts
        return
    yield partial(_routed, spec=ffn), ffn.num_experts, counts
    for part in (ffn.expert, ffn.shared):
        if part is not None:
            yield from _ffn_cases(part, counts)


def _routed(x_RE: torch.Tensor, spec: MoeSpec) -> torch.Tensor:
    """Where a row goes and with what weights, side by side."""
    chosen_RC, weight_RC = route(x_RE, spec)
    return torch.cat([chosen_RC.float(), weight_RC], dim=1)


class _Stepwise(CachedAttend):
    """R sequences beside each other, token by token, in products of the plan's numbers of rows."""

    def __init__(self, num_rows: int, plan: KernelPlan) -> None:
        super().__init__(num_rows)
        self.pad = plan.pad

    def runs(self, layer: int) -> Iterator[Run]:
        for run in super().runs(layer):
            yield replace(run, rows=slice(0, self.num_segments), length=1)


def _some_tokens(x_RW: torch.Tensor, mixer: nn.Module, plan: KernelPlan) -> torch.Tensor:
    """What a mixer with a state says of two tokens of R sequences, one after the other."""
    around = Pass(pos_T=torch.empty(0), attend=_Stepwise(len(x_RW), plan), rope=lambda *_: NO_TABLES)
    x_TW = functional.pad(x_RW, (0, 0, 0, plan.pad(len(x_RW)) - len(x_RW)))
    y_TW = torch.cat([mixer(x_TD.contiguous(), around) for x_TD in x_TW.chunk(2, dim=1)], dim=1)
    return y_TW[: len(x_RW)]


def _narrow(x_RW: torch.Tensor, function: Product, width: int) -> torch.Tensor:
    """Of rows so short that a vector holds several. Few numbers show a difference, so there are many of them."""
    return torch.cat([function(part.contiguous()) for part in x_RW.split(width, dim=1)], dim=1)


def _gates(x_RW: torch.Tensor, spec: AttentionSpec) -> torch.Tensor:
    """As they lie between the queries."""
    return x_RW.view(len(x_RW), spec.num_heads, 2, spec.head_size)[:, :, 1].sigmoid().flatten(1)


def _absorbed_cases(module: LatentAttention, counts: Sequence[int]) -> Iterator[Case]:
    """The products that latent attention has instead of making keys and values, and the latents' norms."""
    spec = module.spec
    to_keys_HNC, to_values_HVC = module.absorbed()
    for other in (to_keys_HNC, to_values_HVC.transpose(1, 2)):
        yield partial(_many_rows, other=other), other.shape[1], counts
    for size in filter(None, (spec.q_rank, spec.kv_rank)):
        yield build_norm(spec.norm, size), size, counts


def _attention_cases(spec: MixerSpec, plan: KernelPlan) -> Iterator[Case]:
    """Scores and mixing of one chunk of keys, as paged attention makes them: many rows, many sequences."""
    layout = kv_layout(spec)
    most = plan.limit * layout.repeat
    rows = most if plan.is_fixed else plan.pad(layout.repeat)
    counts = [most] if plan.is_fixed else sorted({*_counts(plan), rows, most})
    keys_GCK = torch.randn(
        layout.num_kv_heads, ATTENTION_CHUNK, layout.key_size, generator=torch.Generator().manual_seed(1)
    )
    if isinstance(spec, AttentionSpec) and spec.softcap is not None:
        yield torch.tanh, ATTENTION_CHUNK, counts
    if isinstance(spec, AttentionSpec) and spec.head_norm is not None:
        yield build_norm(spec.head_norm, spec.head_size), spec.head_size, counts
    if isinstance(spec, AttentionSpec) and spec.has_gate:
        yield partial(_gates, spec=spec), 2 * spec.num_heads * spec.head_size, _counts(plan)
    for other in (keys_GCK.transpose(1, 2), keys_GCK[..., : layout.value_size].contiguous()):
        yield partial(_many_rows, other=other), other.shape[1], counts
        yield partial(_many_sequences, other=other, rows=rows), other.shape[1], NUM_SEQUENCES


def _many_rows(x_RW: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.bmm(x_RW.expand(len(other), -1, -1).contiguous(), other)[-1]


def _many_sequences(x_NW: torch.Tensor, other: torch.Tensor, rows: int) -> torch.Tensor:
    """The last key-value head of N sequences that decode side by side."""
    x_BRW = x_NW.repeat(len(other), 1).unsqueeze(1).repeat(1, rows, 1)
    return torch.bmm(x_BRW, other.repeat_interleave(len(x_NW), 0))[-len(x_NW) :, 0]
