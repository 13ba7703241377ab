import math

import numpy as np
import pytest
import torch
from gguf import RopeScalingType
from hypothesis import given, settings
from hypothesis import strategies as st

from converter_gguf import convert
from mainspring.errors import WeightsError
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.models.weights.gguf.file import GgufFile
from mainspring.models.weights.gguf.weights import GgufWeights

LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0}


def factors_of(theta, size, scaling):
    """What the converter stores of Llama 3's scaling, pair by pair."""
    old = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    factors = []
    for freq in 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size):
        wavelength = 2 * math.pi / freq
        if wavelength < old / high:
            factors.append(1.0)
        elif wavelength > old / low:
            factors.append(scaling["factor"])
        else:
            smooth = (old / wavelength - low) / (high - low)
            factors.append(float(1 / ((1 - smooth) / scaling["factor"] + smooth)))
    return np.array(factors, "f4")


def model_of(theta=500_000.0, head_size=64, **changes):
    kind = family("llama")
    published = {**kind.published(kind.tiny()), "rope_theta": theta, "head_dim": head_size, **changes}
    with torch.device("meta"):
        meta = Model(kind.config(published))
    return meta.to_empty(device="cpu")


def read(model, path, factors=None, **said):
    more = {} if factors is None else {"rope_freqs.weight": factors}
    return GgufWeights(GgufFile(convert(model, path, more=more, said=said))).config


@pytest.mark.parametrize(
    ("theta", "head_size", "factor"), [(500_000.0, 64, 32.0), (500_000.0, 128, 8.0), (10_000.0, 16, 4.0)]
)
def test_the_scaling_of_released_llama_3_comes_back_exactly(tmp_path, theta, head_size, factor):
    scaling = {**LLAMA3, "factor": factor, "original_max_position_embeddings": 8192, "high_freq_factor": 4.0}
    model = model_of(theta, head_size, rope_scaling=scaling)
    found = read(model, tmp_path / "a.gguf", factors_of(theta, head_size, scaling))
    assert found == model.config
    assert found.blocks[0].mixer.rope.scaling.factor == factor


@given(
    factor=st.sampled_from([2.0, 8.0, 16.0, 32.0]),
    context=st.sampled_from([512, 2048, 8192, 16384]),
    high=st.sampled_from([3.0, 4.0, 8.0, 16.0]),
    head_size=st.sampled_from([64, 128]),
)
@settings(max_examples=30, deadline=None)
def test_any_parameters_whose_bounds_lie_within_the_pairs_come_back(
    tmp_path_factory, factor, context, high, head_size
):
    scaling = {
        **LLAMA3,
        "factor": factor,
        "original_max_position_embeddings": context,
        "high_freq_factor": high,
    }
    model = model_of(10_000.0 * head_size, head_size, rope_scaling=scaling)
    factors = factors_of(10_000.0 * head_size, head_size, scaling)
    assert read(model, tmp_path_factory.mktemp("x") / "a.gguf", factors) == model.config


def test_a_common_factor_of_the_parameters_changes_no_angle(tmp_path):
    doubled = {
        "factor": 8.0,
        "original_max_position_embeddings": 16384,
        "low_freq_factor": 2.0,
        "high_freq_factor": 8.0,
    }
    found = read(model_of(), tmp_path / "a.gguf", factors_of(500_000.0, 64, doubled))
    scaling = found.blocks[0].mixer.rope.scaling
    assert (scaling.original_context, scaling.low_freq_factor, scaling.high_freq_factor) == (8192, 1.0, 4.0)


def test_factors_of_one_are_no_scaling(tmp_path):
    assert read(model_of(), tmp_path / "a.gguf", np.ones(32, "f4")) == model_of().config


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (np.linspace(1, 8, 32, dtype="f4"), "not those of Llama 3's scaling"),
        (np.full(32, 8, "f4"), "not those of Llama 3's scaling"),
        (np.ones(31, "f4"), r"has the shape \(31,\); 32 factors are needed"),
    ],
)
def test_other_factors_are_refused(tmp_path, factors, message):
    with pytest.raises(WeightsError, match=message):
        read(model_of(), tmp_path / "a.gguf", factors)


@pytest.mark.parametrize(
    ("scaling", "said"),
    [
        (
            {"rope_type": "linear", "factor": 4.0},
            {"rope_scaling_type": RopeScalingType.LINEAR, "rope_scaling_factor": 4.0},
        ),
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
            {"rope_scaling_type": RopeScalingType.YARN, "rope_scaling_factor": 4.0, "rope_scaling_orig_ctx_len": 64},
        ),
        (
            {
                "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "attention_factor": 1.5,
                "beta_fast": 16.0, "beta_slow": 2.0,
            },
            {
                "rope_scaling_type": RopeScalingType.YARN, "rope_scaling_factor": 4.0, "rope_scaling_orig_ctx_len": 64,
                "rope_scaling_yarn_attn_factor": 1.5, "rope_scaling_yarn_beta_fast": 16.0,
                "rope_scaling_yarn_beta_slow": 2.0, "rope_scaling_yarn_ext_factor": 1.0,
            },
        ),
        (None, {"rope_scaling_type": RopeScalingType.NONE}),
    ],
)  # fmt: skip
def test_scalings_that_the_metadata_tell_come_back(tmp_path, scaling, said):
    model = model_of(rope_scaling=scaling)
    assert read(model, tmp_path / "a.gguf", **said) == model.config


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"rope_scaling_type": RopeScalingType.LONGROPE},
            "'longrope' for 'llama.rope.scaling.type'; read are none",
        ),
        (
            {"rope_scaling_type": RopeScalingType.LINEAR},
            "says None for 'llama.rope.scaling.factor'; a number",
        ),
        (
            {"rope_scaling_type": RopeScalingType.YARN, "rope_scaling_factor": 4.0},
            "says None for 'llama.rope.scaling.original_context_length'",
        ),
        (
            {"rope_scaling_factor": 4.0},
            "says 4.0 for 'llama.rope.scaling.factor'; what that means is not built",
        ),
    ],
)
def test_scalings_that_are_not_read_are_named(tmp_path, said, message):
    with pytest.raises(WeightsError, match=message):
        read(model_of(), tmp_path / "a.gguf", **said)


def test_factors_for_short_and_long_texts_are_refused_with_the_way_around(tmp_path):
    more = {"rope_factors_long.weight": np.ones(4, "f4"), "rope_factors_short.weight": np.ones(4, "f4")}
    kind = family("phi3")
    path = convert(Model(kind.tiny()), tmp_path / "a.gguf", more=more)
    with pytest.raises(
        WeightsError, match=r"\(longrope\), which is not built here. Take the model's version"
    ):
        GgufWeights(GgufFile(path))
