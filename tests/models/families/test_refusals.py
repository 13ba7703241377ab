"""What a config.json says that is not built here is refused, key by key."""

import pytest

from mainspring.errors import WeightsError
from mainspring.models.families.base import family


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_rotary_positions_of_an_unknown_scaling_are_refused(key):
    kind = family("llama")
    said = {**kind.published(kind.tiny()), key: {"rope_type": "longrope", "factor": 4.0}}
    with pytest.raises(WeightsError, match="'longrope'; read are linear"):
        kind.config(said)


def test_the_rotary_base_is_found_where_newer_files_keep_it():
    kind = family("llama")
    said = {**kind.published(kind.tiny()), "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
    assert kind.config(said).blocks[0].mixer.rope.theta == 5e5


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_act", "swish"), ("position_embedding_type", "relative_key")]
)
def test_a_bert_of_another_kind_is_refused(key, value):
    kind = family("bert")
    with pytest.raises(WeightsError, match=f"{key} '{value}'"):
        kind.config({**kind.published(kind.tiny()), key: value})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("llama", "attention_bias", True),
        ("llama", "mlp_bias", True),
        ("qwen2", "use_sliding_window", True),
        ("gemma2", "use_bidirectional_attention", True),
        ("gpt2", "scale_attn_by_inverse_layer_idx", True),
        ("bert", "is_decoder", True),
        ("llama", "hidden_act", "mish"),
        ("llama", "architectures", ["LlamaForQuestionAnswering"]),
    ],
)
def test_what_would_change_the_model_and_is_not_built_is_refused(name, key, value):
    kind = family(name)
    with pytest.raises(WeightsError, match=key.removesuffix("s")):
        kind.config({**kind.published(kind.tiny()), key: value})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("llama", {"num_attention_heads": 5, "head_dim": None}, "5 heads for a width of 64"),
        ("llama", {"num_key_value_heads": 3}, "3 key-value heads for 4 heads"),
        ("gpt2", {"n_head": 7}, "7 heads for a width of 64"),
        ("bert", {"num_attention_heads": 0}, "0 heads for a width of 64"),
        ("modernbert", {"num_attention_heads": 3}, "3 heads for a width of 64"),
        ("bart", {"encoder_attention_heads": 6}, "6 heads for a width of 64"),
    ],
)
def test_heads_that_do_not_divide_the_width_are_refused(name, changes, message):
    kind = family(name)
    with pytest.raises(WeightsError, match=message):
        kind.config({**kind.published(kind.tiny()), **changes})


def test_a_misspelt_family_is_told_the_nearest():
    with pytest.raises(WeightsError, match="'lama'; did you mean 'llama'"):
        family("lama")
