"""Families with experts: variants beside transformers' own class, released sizes, and what is refused."""

import pytest
import torch
import transformers

from mainspring.errors import WeightsError
from mainspring.models.attend import PackedAttend
from mainspring.models.config import FfnSpec, MoeSpec
from mainspring.models.describe import describe
from mainspring.models.families.base import family
from mainspring.models.load import load, understand
from mainspring.models.model import Model
from mainspring.models.save import save
from oracle_transformers import class_of

pytestmark = pytest.mark.slow

VARIANTS = {
    "Mixtral without a window": ("mixtral", {"sliding_window": None}),
    "Mixtral, three of four experts": ("mixtral", {"num_experts_per_tok": 3}),
    "Qwen3-MoE, normalized": ("qwen3_moe", {"norm_topk_prob": True}),
    "Qwen3-MoE, all layers": ("qwen3_moe", {"decoder_sparse_step": 1, "mlp_only_layers": []}),
    "Qwen3-MoE, two plain layers": ("qwen3_moe", {"decoder_sparse_step": 1, "mlp_only_layers": [0, 3]}),
    "DeepSeek-V3, queries of the token": ("deepseek_v3", {"q_lora_rank": None}),
    "DeepSeek-V3, not interleaved": ("deepseek_v3", {"rope_interleave": False}),
    "DeepSeek-V3, one group": ("deepseek_v3", {"n_group": 1, "topk_group": 1}),
    "DeepSeek-V3, not normalized": ("deepseek_v3", {"norm_topk_prob": False}),
    "DeepSeek-V3, experts everywhere": ("deepseek_v3", {"first_k_dense_replace": 0}),
    "DeepSeek-V3, unscaled positions": ("deepseek_v3", {"rope_scaling": None}),
    "DeepSeek-V3, scores not sharpened": (
        "deepseek_v3",
        {
            "rope_scaling": {
                "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 8,
            },
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "changes"), VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_a_variant_gives_what_transformers_own_class_gives(name, changes, tmp_path):
    kind = family(name)
    published = {**kind.published(kind.tiny()), **changes}
    torch.manual_seed(0)
    model = Model(kind.config(published)).eval()
    for weight in (*model.parameters(), *model.buffers()):
        weight.add_(0.1 * torch.randn_like(weight))
    assert kind.config(kind.published(model.config)) == model.config
    save(model, tmp_path)
    assert load(tmp_path).config == model.config
    theirs = class_of(tmp_path).from_pretrained(tmp_path, attn_implementation="eager").eval()
    ids = torch.randint(3, 288, (33,), generator=torch.Generator().manual_seed(1))
    expected = theirs(ids[None]).logits[0]
    found = model.logits(model(ids, torch.arange(33), PackedAttend([33])))
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


RELEASED = {
    "Mixtral 8x7B": (46_702_792_704, 12.9e9, "MixtralForCausalLM", {
        "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0,
        "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "num_attention_heads": 32, "num_experts_per_tok": 2,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
        "output_router_logits": False, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.02, "sliding_window": None, "tie_word_embeddings": False,
        "vocab_size": 32000,
    }),
    "Qwen3 30B-A3B": (30_532_122_624, 3.3e9, "Qwen3MoeForCausalLM", {
        "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": False,
        "attention_dropout": 0.0, "decoder_sparse_step": 1, "head_dim": 128, "hidden_act": "silu",
        "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960,
        "max_window_layers": 48, "mlp_only_layers": [], "moe_intermediate_size": 768,
        "norm_topk_prob": True, "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
        "num_hidden_layers": 48, "num_key_value_heads": 4, "output_router_logits": False,
        "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.001, "sliding_window": None, "tie_word_embeddings": False,
        "use_sliding_window": False, "vocab_size": 151936,
    }),
    "DeepSeek-V3": (671_026_404_352, 37.5e9, "DeepseekV3ForCausalLM", {
        "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False,
        "attention_dropout": 0.0, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu",
        "hidden_size": 7168, "intermediate_size": 18432, "kv_lora_rank": 512,
        "max_position_embeddings": 163840, "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8,
        "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": True, "num_attention_heads": 128,
        "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
        "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "rms_norm_eps": 1e-06, "rope_scaling": {
            "beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096, "type": "yarn",
        },
        "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
        "tie_word_embeddings": False, "topk_group": 4, "topk_method": "noaux_tc", "v_head_dim": 128,
        "vocab_size": 129280,
    }),
}  # fmt: skip


@pytest.mark.parametrize(("known", "active", "architecture", "published"), RELEASED.values(), ids=RELEASED)
def test_a_released_config_is_read_and_has_the_size_of_transformers_class(
    known, active, architecture, published
):
    """Four layers of each: as many modules as all layers have take some seconds to make."""
    made_by = family(published["model_type"])
    shorter = {**published, "num_hidden_layers": 4}
    kind = getattr(transformers, architecture)
    with torch.device("meta"):
        theirs = kind(kind.config_class(**shorter))
    found = describe(made_by.config(shorter)).parameters
    assert found == sum(parameter.numel() for parameter in theirs.parameters())
    config = made_by.config(published)
    assert made_by.config(made_by.published(config)) == config


@pytest.mark.slow
@pytest.mark.parametrize(("known", "active", "architecture", "published"), RELEASED.values(), ids=RELEASED)
def test_a_released_model_has_the_known_numbers_of_parameters(known, active, architecture, published):
    said = describe(family(published["model_type"]).config(published))
    assert said.parameters == known
    assert said.active_parameters == pytest.approx(active, rel=0.02)


def test_deepseek_v3_keeps_576_numbers_a_token_and_layer_and_sharpens_its_scores():
    config = family("deepseek_v3").config(RELEASED["DeepSeek-V3"][-1])
    assert {block.mixer.cached_numbers for block in config.blocks} == {512 + 64}
    assert [type(block.ffn) for block in config.blocks[:5]] == [FfnSpec] * 3 + [MoeSpec] * 2
    assert config.blocks[0].mixer.scale == pytest.approx(192**-0.5 * 1.3689**2, rel=1e-4)


def test_the_layer_that_predicts_a_second_token_is_left_in_the_file():
    names = family("deepseek_v3").names(family("deepseek_v3").tiny())
    assert names.is_unused("model.layers.61.eh_proj.weight")
    assert not names.is_unused("model.layers.6.mlp.gate.weight")


@pytest.mark.parametrize(
    ("name", "key", "value", "match"),
    [
        ("mixtral", "router_jitter_noise", 0.1, "router_jitter_noise 0.1"),
        ("mixtral", "num_experts_per_tok", 5, "to 5 experts; it must be 1 to 4"),
        ("mixtral", "num_experts_per_tok", 0, "to 0 experts; it must be 1 to 4"),
        ("qwen3_moe", "attention_bias", True, "attention_bias True"),
        ("qwen3_moe", "use_sliding_window", True, "use_sliding_window True"),
        ("deepseek_v3", "attention_bias", True, "attention_bias True"),
        ("deepseek_v3", "num_key_value_heads", 2, "num_key_value_heads 2"),
        ("deepseek_v3", "scoring_func", "softmax", "scoring_func 'softmax'"),
        ("deepseek_v3", "topk_method", "greedy", "topk_method 'greedy'"),
        ("deepseek_v3", "n_group", 3, "8 experts into 3 groups"),
        ("deepseek_v3", "n_group", 8, "8 experts into 8 groups"),
        ("deepseek_v3", "topk_group", 5, "among 5 of them"),
        ("deepseek_v3", "num_experts_per_tok", 5, "to 5 experts; it must be 1 to 4"),
    ],
)
def test_a_router_or_attention_that_is_not_built_is_refused(name, key, value, match):
    kind = family(name)
    with pytest.raises(WeightsError, match=match):
        kind.config({**kind.published(kind.tiny()), key: value})


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3"])
def test_a_config_without_its_experts_or_latents_says_what_it_lacks(name, tmp_path):
    kind = family(name)
    said = kind.published(kind.tiny())
    del said["num_local_experts" if name == "mixtral" else "kv_lora_rank"]
    with pytest.raises(WeightsError, match=r"tells no '(num_local_experts|kv_lora_rank)'"):
        understand(said, tmp_path)


def test_qwen3_moe_is_read_by_both_names_of_its_number_of_experts():
    kind = family("qwen3_moe")
    said = kind.published(kind.tiny())
    said["num_local_experts"] = said.pop("num_experts")
    assert kind.config(said) == kind.tiny()


def test_a_missing_expert_is_named_and_nothing_is_loaded(tmp_path):
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    save(Model(family("mixtral").tiny()), tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    del state["model.layers.1.block_sparse_moe.experts.3.w2.weight"]
    save_file(state, path)
    with pytest.raises(
        WeightsError, match=r"missing model\.layers\.1\.block_sparse_moe\.experts\.3\.w2\.weight"
    ):
        load(tmp_path)
