"""The same weights in transformers, and peft's LoRA around them."""

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from mainspring.adapt import lora
from mainspring.models.families import llama

PEFT_NAMES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def published_name(model, path):
    """Published name of the linear at our path."""
    return llama.NAMES.table(model.config)[f"{path}.weight"].removesuffix(".weight")


def in_transformers(model):
    """Build before adapters are added: names are those of the plain model."""
    oracle = LlamaForCausalLM(LlamaConfig(**llama.published(model.config))).float().eval()
    table = llama.NAMES.table(model.config)
    weights = {table[name]: weight.detach().clone() for name, weight in model.named_parameters()}
    missing, unexpected = oracle.load_state_dict(weights, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    oracle.tie_weights()
    return oracle


def with_peft(oracle, rank, alpha):
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=PEFT_NAMES, lora_dropout=0.0)
    return get_peft_model(oracle, config).eval()


def peft_factors(peft_model):
    """(published linear, "a" or "b") -> parameter."""
    factors = {}
    for name, parameter in peft_model.named_parameters():
        if ".lora_" in name:
            module, _, rest = name.removeprefix("base_model.model.").partition(".lora_")
            factors[module, rest[0].lower()] = parameter
    return factors


def fill_alike(model, name, peft_model, seed=7, spread=0.05):
    """Give both the same random factors, B too, so that every gradient is alive."""
    generator = torch.Generator().manual_seed(seed)
    factors = peft_factors(peft_model)
    with torch.no_grad():
        for path, pair in lora.pairs(model, name).items():
            for letter, ours in (("a", pair.a_RI), ("b", pair.b_OR)):
                ours.copy_(torch.randn(ours.shape, generator=generator) * spread)
                factors[published_name(model, path), letter].copy_(ours)


def peft_loss(peft_model, segments):
    """Mean over the trained tokens of all segments, run one by one."""
    total, count = 0.0, 0.0
    for segment in segments:
        logits = peft_model(torch.tensor([segment.ids])).logits[0, :-1]
        nll = torch.nn.functional.cross_entropy(logits, torch.tensor(segment.ids[1:]), reduction="none")
        weight = torch.tensor(segment.weight[1:], dtype=torch.float32)
        total = total + (nll * weight).sum()
        count += float(weight.sum())
    return total / count


def assert_same_gradients(model, name, peft_model, tolerance=1e-5):
    factors = peft_factors(peft_model)
    found = lora.pairs(model, name)
    assert len(factors) == 2 * len(found) > 0
    for path, pair in found.items():
        for letter, ours in (("a", pair.a_RI), ("b", pair.b_OR)):
            theirs = factors[published_name(model, path), letter].grad
            difference = (ours.grad - theirs).norm() / theirs.norm()
            assert difference < tolerance, (path, letter, float(difference))
