"""The claim of the exact mode: a row's bits depend on that row alone, for 1 to 512 rows in any company."""

from functools import partial

import pytest
import torch
from torch.nn import functional

from fakes_engine import FIXED, PLAN, make_model
from mainspring import device
from mainspring.errors import MainspringError
from mainspring.infer import kernels
from mainspring.infer.kernels import ATTENTION_CHUNK, linears_agree, probe, rows_agree
from mainspring.infer.paged import KvCache, PagedAttend
from mainspring.models.config import FfnSpec, LatentSpec, MoeSpec, NormSpec, RopeSpec
from mainspring.models.families import llama
from mainspring.models.parts.base import Pass
from mainspring.models.parts.latent import LatentAttention
from mainspring.models.parts.moe import Mixture
from mainspring.models.parts.rope import Rope, rotate

WIDTH, HIDDEN, KV_WIDTH, HEAD, HEADS, KV_HEADS, VOCABULARY = 576, 1536, 192, 64, 9, 3, 49152
REPEAT = HEADS // KV_HEADS
LINEARS = [(WIDTH, WIDTH), (KV_WIDTH, WIDTH), (HIDDEN, WIDTH), (WIDTH, HIDDEN)]
LORA = [(8, WIDTH), (WIDTH, 8), (8, HIDDEN), (HIDDEN, 8), (KV_WIDTH, 8)]
NUM_ROWS = [2, 3, 7, 9, 31, 64, 65, 130, 510, 511, 512]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(shape):
    return partial(functional.linear, weight=random(*shape, seed=1))


def added(x_RW, weight):
    """What an adapter's second factor does: its product is added to what the linear made."""
    return (torch.arange(len(weight)) / 7).repeat(len(x_RW), 1).addmm_(x_RW, weight.t())


def batched(x_RW, other):
    return torch.bmm(x_RW.expand(len(other), -1, -1).contiguous(), other)[-1]


def rotated(x_RW):
    tables = Rope(RopeSpec(theta=1e4), HEAD, 512).tables(torch.full((len(x_RW),), 77))
    return rotate(x_RW.view(len(x_RW), HEADS, HEAD), tables)


def mixtures():
    """Mixtures as Mixtral and as DeepSeek-V3 have them, run as the engine runs them."""
    expert = FfnSpec(kind="glu", hidden=192, activation="silu")
    plain = MoeSpec(num_experts=8, num_chosen=2, expert=expert, is_normalized=True)
    grouped = plain.model_copy(
        update={
            "num_experts": 64, "num_chosen": 6, "scores": "sigmoid", "scale": 2.5, "num_groups": 8,
            "num_chosen_groups": 4, "has_balance": True, "shared": expert,
        }
    )  # fmt: skip
    cache = KvCache(llama.tiny(), 1, 1, torch.float32)
    attend = PagedAttend(cache, torch.empty(0, dtype=torch.int64), [], PLAN)
    around = Pass(pos_T=torch.empty(0), attend=attend, rope=lambda spec, size: (torch.empty(0),) * 2)
    torch.manual_seed(4)
    return {
        name: partial(Mixture(spec, WIDTH), around=around)
        for name, spec in {"Mixtral": plain, "DeepSeek-V3": grouped}.items()
    }


def absorbed():
    """The two products of latent attention that stand for making keys and values, of the last head."""
    spec = LatentSpec(
        num_heads=16, q_rank=None, kv_rank=512, plain_size=128, rope_size=64, value_size=128,
        rope=RopeSpec(theta=1e4), norm=NormSpec(kind="rms", eps=1e-6),
    )  # fmt: skip
    torch.manual_seed(5)
    to_keys_HNC, to_values_HVC = LatentAttention(spec, WIDTH, 0).absorbed()
    return {"queries": to_keys_HNC, "what was mixed": to_values_HVC.transpose(1, 2)}


def elementwise():
    norm = torch.nn.RMSNorm(WIDTH, eps=1e-5)
    return {
        "rms_norm": (norm, WIDTH),
        "gated": (lambda x: functional.silu(x) * x, HIDDEN),
        "rotary": (rotated, WIDTH),
        "exp": (torch.exp, ATTENTION_CHUNK),
        "exp of one value": (torch.exp, 1),
        "amax": (lambda x: x.amax(-1, keepdim=True), ATTENTION_CHUNK),
        "sum": (lambda x: x.sum(-1, keepdim=True), ATTENTION_CHUNK),
    }


@torch.inference_mode()
def differing_rows(product, width, num_rows):
    """Numbers of rows with which a row is not what it is alone, in any place beside any neighbors."""
    mine, wrong = random(width, seed=2), []
    alone = product(functional.pad(mine.unsqueeze(0), (0, 0, 0, PLAN.pad(1) - 1)))[0].clone()
    assert alone.isfinite().all()
    for count in num_rows:
        others = random(count, width, seed=count) * 1e30
        others[1::3], others[2::7] = torch.nan, torch.inf
        patterns = (torch.arange(count) % 2 == 0, torch.arange(count) % 2 == 1, torch.ones(count).bool())
        is_mine = patterns[count % 3]  # 8 row counts share a padded size, so each size meets every pattern
        x_RW = torch.where(is_mine.unsqueeze(1), mine, others)
        y_RN = product(functional.pad(x_RW, (0, 0, 0, PLAN.pad(count) - count)))[:count][is_mine]
        if not torch.equal(y_RN, alone.expand_as(y_RN)):
            wrong.append(count)
    return wrong


@pytest.mark.parametrize("shape", LINEARS + LORA, ids=str)
def test_a_row_of_a_linear_keeps_its_bits_in_any_company(shape):
    assert differing_rows(linear(shape), shape[1], NUM_ROWS) == []


@pytest.mark.parametrize("shape", LORA, ids=str)
def test_a_row_that_a_product_is_added_to_keeps_its_bits_in_any_company(shape):
    weight = random(*shape, seed=1)
    assert differing_rows(partial(added, weight=weight), shape[1], [*NUM_ROWS, 16, 40, 100, 257, 384]) == []


@pytest.mark.parametrize("name", elementwise())
def test_a_row_of_the_other_kernels_keeps_its_bits_in_any_company(name):
    assert differing_rows(*elementwise()[name], NUM_ROWS) == []


@pytest.mark.parametrize("name", ["Mixtral", "DeepSeek-V3"])
def test_a_row_of_a_mixture_keeps_its_bits_in_any_company(name):
    assert differing_rows(mixtures()[name], WIDTH, NUM_ROWS) == []


@pytest.mark.parametrize("name", ["queries", "what was mixed"])
def test_a_row_of_latent_attention_keeps_its_bits_in_any_company(name):
    other = absorbed()[name]
    assert differing_rows(partial(batched, other=other), other.shape[1], NUM_ROWS) == []


@pytest.mark.parametrize("is_score", [True, False])
def test_a_row_of_attention_keeps_its_bits_in_any_company(is_score):
    keys_GCK = random(KV_HEADS, ATTENTION_CHUNK, HEAD, seed=3)
    other = keys_GCK.transpose(1, 2) if is_score else keys_GCK
    assert differing_rows(partial(batched, other=other), other.shape[1], [*NUM_ROWS, 512 * REPEAT]) == []


@pytest.mark.slow
@pytest.mark.parametrize("shape", LINEARS + LORA, ids=str)
def test_a_row_of_a_linear_keeps_its_bits_for_every_number_of_rows(shape):
    assert differing_rows(linear(shape), shape[1], range(1, 513)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", elementwise())
def test_a_row_of_the_other_kernels_keeps_its_bits_for_every_number_of_rows(name):
    assert differing_rows(*elementwise()[name], range(1, 513)) == []


@pytest.mark.slow
@pytest.mark.parametrize("is_score", [True, False])
def test_a_row_of_attention_keeps_its_bits_for_every_number_of_rows(is_score):
    keys_GCK = random(KV_HEADS, ATTENTION_CHUNK, HEAD, seed=3)
    other = keys_GCK.transpose(1, 2) if is_score else keys_GCK
    counts = [*range(1, 513), *range(520, 512 * REPEAT + 1, 40), 512 * REPEAT]
    assert differing_rows(partial(batched, other=other), other.shape[1], counts) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Mixtral", "DeepSeek-V3"])
def test_a_row_of_a_mixture_keeps_its_bits_for_every_number_of_rows(name):
    assert differing_rows(mixtures()[name], WIDTH, range(1, 513)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["queries", "what was mixed"])
def test_a_row_of_latent_attention_keeps_its_bits_for_every_number_of_rows(name):
    other = absorbed()[name]
    assert differing_rows(partial(batched, other=other), other.shape[1], range(1, 513)) == []


@pytest.mark.slow
def test_a_row_of_the_head_keeps_its_bits():
    shape = (VOCABULARY, WIDTH)
    assert differing_rows(linear(shape), WIDTH, [1, 2, 8, 9, 24, 32, 65, 128]) == []


@pytest.mark.parametrize("rows", [8, 8 * REPEAT])
@torch.inference_mode()
def test_a_sequence_keeps_its_bits_beside_any_number_of_others(rows):
    keys_GCK = random(KV_HEADS, ATTENTION_CHUNK, HEAD, seed=3)
    mine = random(HEAD, seed=2)
    alone = torch.bmm(mine.expand(KV_HEADS, rows, -1).contiguous(), keys_GCK.transpose(1, 2))
    for num_seqs in range(1, 33):
        q_NGRK = random(num_seqs, KV_HEADS, rows, HEAD, seed=num_seqs) * 1e30
        q_NGRK[1::3] = torch.nan
        keys = keys_GCK.repeat_interleave(num_seqs, 0)
        q_NGRK[num_seqs // 2] = mine
        q_BRK = q_NGRK.transpose(0, 1).reshape(-1, rows, HEAD)
        scores = torch.bmm(q_BRK, keys.transpose(1, 2)).view(KV_HEADS, num_seqs, rows, -1)
        assert torch.equal(scores[:, num_seqs // 2], alone), num_seqs


def test_the_probe_finds_a_plan_for_this_machine(model):
    plan = probe(model)
    assert plan.limit % plan.multiple == 0
    assert (plan.machine, plan.threads, plan.mode) == (device.describe(), torch.get_num_threads(), "exact")
    assert plan.fingerprint != plan.model_copy(update={"limit": 8, "multiple": 8}).fingerprint


def by_rows(most):
    """An activation whose bits change above a number of rows."""
    return lambda x: functional.silu(x) * (1 if len(x) <= most else 1 + 2**-20)


def test_the_probe_falls_back_to_the_row_counts_that_agree(monkeypatch):
    monkeypatch.setitem(kernels.ACTIVATIONS, "silu", by_rows(100))
    assert probe(make_model()).limit == 64


def test_the_probe_falls_back_to_one_fixed_size(monkeypatch):
    monkeypatch.setitem(kernels.ACTIVATIONS, "silu", lambda x: functional.silu(x) * (1 + len(x) * 2**-20))
    plan = probe(make_model())
    assert plan.is_fixed


def test_the_probe_raises_where_rows_mix_at_every_size(monkeypatch):
    monkeypatch.setitem(kernels.ACTIVATIONS, "silu", lambda x: x + torch.arange(len(x)).unsqueeze(1))
    with pytest.raises(MainspringError, match="repeated exactly"):
        probe(make_model())


def test_a_neighbor_that_leaks_is_noticed():
    assert rows_agree(lambda x: x * 2, 16, [8, 16])
    assert not rows_agree(lambda x: x + x.mean(0), 16, [8, 16])
    assert not rows_agree(lambda x: x * len(x), 16, [8, 16])


def test_the_widths_of_adapters_are_checked_against_the_plan():
    weights = [random(*shape) for shape in LORA]
    assert linears_agree(weights, FIXED)
    assert linears_agree(weights, PLAN)
