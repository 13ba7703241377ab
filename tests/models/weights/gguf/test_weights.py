"""Every architecture from a file as llama.cpp's converter writes it, and what is refused in one."""

import json
import struct

import numpy as np
import pytest
import tokenizers
import torch
from gguf import ExpertGatingFuncType, PoolingType
from gguf import GGMLQuantizationType as Type
from tokenizers import models

from converter_gguf import CONVERTERS, convert
from fakes_bpe import CHATML, make_tokenizer
from fakes_gguf import write_gguf
from mainspring.errors import WeightsError
from mainspring.models.families.base import family
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.published import find, publish
from mainspring.models.weights.gguf.architectures.base import ARCHITECTURES
from mainspring.models.weights.gguf.file import GgufFile
from mainspring.models.weights.gguf.weights import GgufWeights
from mainspring.tokenizer.base import Tokenizer

pytestmark = pytest.mark.slow

# What a file does not tell, as reading it takes it to be.
TOLD = {
    "bert": {"architectures": ["BertModel"], "pooling": "cls"},
    "roberta": {"architectures": ["RobertaModel"], "pooling": "cls"},
    "modernbert": {"architectures": ["ModernBertModel"]},
    "t5": {"relative_attention_max_distance": 128},
    "qwen3_moe": {"decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True},
    "deepseek_v3": {
        "rope_scaling": {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "mscale": 1.0,
            "mscale_all_dim": 1.0,
        }
    },
    "mamba2": {"time_step_limit": [0.0, float("inf")], "chunk_size": 256},
    "qwen3_next": {"mlp_only_layers": []},
    "gemma2": {"query_pre_attn_scalar": 16},
}  # fmt: skip


def tiny(name, **changes):
    kind = family(name)
    published = {**kind.published(kind.tiny()), **TOLD.get(name, {}), **changes}
    torch.manual_seed(0)
    model = Model(kind.config(published))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def tokenizer_of(name):
    """A tokenizer of the kind that the family has, and what the file says of it."""
    if name == "bert":
        vocab = {
            token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b"])
        }
        backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
        backend.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
        return backend, {"unk_token_id": 1, "bos_token_id": 2, "sep_token_id": 3}
    if name == "t5":
        pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581a", -2.0), ("b", -3.0)]
        backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=2))
        backend.add_special_tokens(["<pad>", "</s>", "<unk>"])
        return backend, {"eos_token_id": 1, "pad_token_id": 0}
    return make_tokenizer()._backend, {"eos_token_id": 2, "bos_token_id": 1, "template": CHATML}


def made(model, folder, kind=Type.F32, **changes):
    """The model as it comes out of a file that was published."""
    name = model.config.family
    backend, flags = tokenizer_of(name)
    path = convert(model, folder / "tiny.gguf", kind=kind, tokenizer=backend, **flags, **changes)
    found = find(path)
    publish(found, folder / "made")
    loaded = load(folder / "made")
    assert loaded.config == found.config
    return loaded


def expected_state(model):
    """What the converter's changes cost: one rounding of norms and decays, the unread rows of positions."""
    state = model.state_dict()
    state = {name: each.exp().log() if name.endswith("a_log") else each for name, each in state.items()}
    if model.config.family.startswith(("gemma", "qwen3_next")):
        raised = [name for name in state if "norm" in name and "mixer.norm" not in name]
        state |= {name: (state[name] + 1) - 1 for name in raised}
    if model.config.family == "roberta":
        state["positions.weight"] = state["positions.weight"].clone()
        state["positions.weight"][:2] = 0
    return state


@pytest.mark.parametrize("name", CONVERTERS)
def test_a_file_becomes_a_folder_that_loads_as_the_same_model_bit_for_bit(name, tmp_path):
    model = tiny(name)
    loaded = made(model, tmp_path)
    assert loaded.config == model.config
    expected = expected_state(model)
    assert loaded.state_dict().keys() == expected.keys()
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[key]), key


@pytest.mark.parametrize("name", CONVERTERS)
def test_quantized_tensors_come_back_within_the_types_error(name, tmp_path):
    model = tiny(name)
    expected = expected_state(model)
    changed = 0
    for key, tensor in made(model, tmp_path, Type.Q8_0).state_dict().items():
        limit = expected[key].abs().max() / 127
        assert (tensor - expected[key]).abs().max() <= limit, key
        changed += not torch.equal(tensor, expected[key])
    assert changed > 5


def test_a_decay_that_is_not_negative_is_refused(tmp_path):
    model = tiny("jamba")
    decays = model.state_dict()["blocks.0.mixer.a_log"].exp().numpy()
    path = convert(model, tmp_path / "a.gguf", without=("blk.0.ssm_a",), more={"blk.0.ssm_a": decays})
    with pytest.raises(WeightsError, match="has decays of states that are not negative"):
        GgufWeights(GgufFile(path)).read("model.layers.0.mamba.A_log")


@pytest.mark.parametrize("heads", [[0, 2, 2, 0], [0, 2, 0], 2])
def test_layers_of_jamba_that_no_period_gives_are_named(tmp_path, heads):
    path = convert(tiny("jamba"), tmp_path / "a.gguf", said={"head_count_kv": heads})
    with pytest.raises(WeightsError, match=r"have no period|one number for each layer is needed"):
        GgufWeights(GgufFile(path))


def test_every_architecture_was_tested():
    assert {architecture for architecture, *_ in CONVERTERS.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "t5"])
def test_a_head_of_its_own_is_read(name, tmp_path):
    model = tiny(name, tie_word_embeddings=False)
    loaded = made(model, tmp_path)
    assert torch.equal(loaded.state_dict()["head.out.weight"], model.state_dict()["head.out.weight"])
    assert loaded.config == model.config


def test_gated_feed_forward_parts_of_t5_are_told_by_their_tensors(tmp_path):
    model = tiny("t5", feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    assert made(model, tmp_path).config == model.config


def test_a_tensor_that_no_pass_needs_is_left_out(tmp_path):
    unused = {"dec.blk.0.cross_attn_rel_b.weight": np.zeros((8, 4), "f4")}
    assert made(tiny("t5"), tmp_path, more=unused).config.family == "t5"


def test_special_tokens_template_and_length_come_with_the_model(tmp_path):
    made(tiny("llama"), tmp_path)
    tokenizer = Tokenizer.load(tmp_path / "made")
    assert (tokenizer.bos, tokenizer.eos, tokenizer.chat_template) == ("<|im_start|>", "<|im_end|>", CHATML)
    assert tokenizer.max_length == 256
    assert json.loads((tmp_path / "made" / "config.json").read_text())["eos_token_id"] == 2


def test_a_matrix_of_keys_and_values_that_was_not_split_is_read_as_well(tmp_path):
    model = tiny("deepseek_v3")
    whole = {
        f"blk.{layer}.attn_kv_b.weight": model.state_dict()[f"blocks.{layer}.mixer.kv_up.weight"].numpy()
        for layer in range(model.config.num_layers)
    }
    path = convert(model, tmp_path / "a.gguf", more=whole, without=("attn_k_b", "attn_v_b"))
    weights = GgufWeights(GgufFile(path))
    for layer in range(model.config.num_layers):
        found = weights.read(f"model.layers.{layer}.self_attn.kv_b_proj.weight")
        assert torch.equal(found, model.state_dict()[f"blocks.{layer}.mixer.kv_up.weight"])


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("mixtral", {"expert_count": 5}, "says 5 for 'llama.expert_count'; read is 4"),
        ("mixtral", {"expert_used_count": None}, "says None for 'llama.expert_used_count'; a whole number"),
        (
            "llama",
            {"expert_count": 8},
            "tells of 8 experts, but has no tensor 'ffn_gate_exps.weight' that holds",
        ),
        (
            "deepseek_v3",
            {"expert_gating_func": ExpertGatingFuncType.SOFTMAX},
            "scoring_func 'softmax'; read is",
        ),
        (
            "mpt",
            {"clamp_kqv": 8.0},
            "says 8.0 for 'mpt.attention.clamp_kqv'; what that means is not built here",
        ),
    ],
)
def test_what_other_kinds_of_experts_and_attention_need_is_named(tmp_path, name, said, message):
    assert message in refused(convert(tiny(name), tmp_path / "a.gguf", said=said))


def refused(path):
    with pytest.raises(WeightsError) as error:
        GgufWeights(GgufFile(path))
    return str(error.value)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("qwen3moe2", r"architecture 'qwen3moe2'; the nearest that is read is 'qwen3"),
        ("rwkv6", r"architecture 'rwkv6'; read are llama, gpt2, "),
    ],
)
def test_an_unknown_architecture_is_named_with_the_nearest_known(tmp_path, architecture, message):
    assert message in refused(write_gguf(tmp_path / "a.gguf", architecture, {}, {}))


def test_missing_unknown_and_misshapen_tensors_are_named_before_any_is_read(tmp_path):
    model = tiny("llama")
    more = {"blk.0.attn_q_norm.weight": np.ones(16, "f4"), "blk.1.attn_k.weight": np.ones((30, 64), "f4")}
    path = convert(model, tmp_path / "a.gguf", more=more, said={"block_count": 3})
    said = refused(path)
    assert "missing blk.2.attn_k.weight, blk.2.attn_norm.weight, blk.2.attn_output.weight and 6 more" in said
    assert "unknown blk.0.attn_q_norm.weight; " in said
    assert (
        "blk.1.attn_k.weight is (30, 64), the metadata ask for (32, 64) of model.layers.1.self_attn" in said
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"head_count": None}, "says None for 'llama.attention.head_count'; a whole number above zero"),
        ({"head_count": 0}, "says 0 for 'llama.attention.head_count'; a whole number above zero"),
        ({"head_count_kv": [2, 2]}, "says [2, 2] for 'llama.attention.head_count_kv'; a whole number"),
        ({"layer_norm_rms_eps": None}, "says None for 'llama.attention.layer_norm_rms_epsilon'; a number"),
        (
            {"block_count": 2**31},
            "says 2147483648 for 'llama.block_count'; the file has tensors for 20 at most",
        ),
        ({"value_length": 8}, "says 8 for 'llama.attention.value_length'; read is 16"),
        ({"logit_scale": 2.0}, "says 2.0 for 'llama.logit_scale'; what that means is not built here"),
        ({"causal_attention": False}, "says False for 'llama.attention.causal'; read is True"),
    ],
)
def test_metadata_that_are_missing_absurd_or_not_understood_are_named(tmp_path, said, message):
    assert message in refused(convert(tiny("llama"), tmp_path / "a.gguf", said=said))


def test_a_file_without_an_embedding_is_named(tmp_path):
    path = write_gguf(tmp_path / "a.gguf", "gpt2", {"head_count": 4}, {})
    assert "has no tensor 'token_embd.weight', which every model of the architecture 'gpt2' has" in refused(
        path
    )


def test_a_pooling_that_is_not_read_is_named(tmp_path):
    path = convert(tiny("bert"), tmp_path / "a.gguf", said={"pooling_type": PoolingType.RANK})
    assert "says 4 for 'bert.pooling_type'; read are 1, 2, 3" in refused(path)


def test_heads_that_do_not_divide_the_rows_are_named_not_stumbled_over(tmp_path):
    path = convert(tiny("llama"), tmp_path / "a.gguf", said={"head_count": 3, "head_count_kv": 3})
    assert "misshapen blk.0.attn_q.weight is (64, 64), the metadata ask for (48, 64)" in refused(path)


def test_a_file_without_an_architecture_is_named(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(32))
    assert "has the architecture 'None'; " in refused(tmp_path / "a.gguf")
