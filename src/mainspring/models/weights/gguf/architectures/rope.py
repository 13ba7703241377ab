"""Rotary positions as GGUF files tell of them, among them Llama 3's scaling, which lies in a tensor.

A file of Llama 3 has no parameters of its scaling but what they make of every pair: by how much its
frequency is divided. Between the two bounds 1 / divisor is linear in the pair's frequency, and that line
gives the parameters back, up to a common factor of the context and the frequency factors, which changes
nothing; `low_freq_factor` is taken as 1, as all published files have it.
"""

import math
from typing import Any

import numpy as np

from mainspring.errors import WeightsError
from mainspring.models.weights.gguf.metadata import Metadata

FACTORS = "rope_freqs.weight"
LONG = ("rope_factors_long.weight", "rope_factors_short.weight")
USUAL = (8192, 4.0)  # original context and high_freq_factor of all published Llama 3
TOLERANCE = 1e-5


def rope_keys(said: Metadata, head_size: int) -> dict[str, Any]:
    """The keys of config.json that tell of rotary positions.

    Raises:
        WeightsError: a scaling that is not built here, or factors that no parameters give.

    """
    theta, size = said.number("rope.freq_base", 10_000.0), said.whole("rope.dimension_count", head_size)
    values: dict[str, Any] = {"rope_theta": theta}
    if size != head_size:
        values["partial_rotary_factor"] = size / head_size
    if any(said.has(name) for name in LONG):
        raise WeightsError(
            f"{said.file.path} scales its rotary positions by factors for short and long texts (longrope), which "
            "is not built here. Take the model's version for the shorter context."
        )
    scaling = _llama3(said, theta, size) if said.has(FACTORS) else _scaling(said)
    return values | ({"rope_scaling": scaling} if scaling else {})


def _scaling(said: Metadata) -> dict[str, Any] | None:
    kind = said.get("rope.scaling.type", "none")
    if said.get("rope.scale_linear") is not None:  # how files were written before there was a type
        return {"rope_type": "linear", "factor": said.number("rope.scale_linear")}
    if kind == "linear":
        return {"rope_type": "linear", "factor": said.number("rope.scaling.factor")}
    if kind == "yarn":
        return _yarn(said)
    said.get("rope.scaling.original_context_length")  # without a type it says nothing
    if kind != "none":
        raise said.wrong("rope.scaling.type", kind, "read are none, linear and yarn")
    return None


def _yarn(said: Metadata) -> dict[str, Any]:
    said.expect("rope.scaling.yarn_ext_factor", 1.0, -1.0)
    optional = {
        "attention_factor": said.optional("rope.scaling.yarn_attn_factor"),
        "beta_fast": said.optional("rope.scaling.yarn_beta_fast"),
        "beta_slow": said.optional("rope.scaling.yarn_beta_slow"),
    }
    return {
        "rope_type": "yarn",
        "factor": said.number("rope.scaling.factor"),
        "original_max_position_embeddings": said.whole("rope.scaling.original_context_length"),
        **{key: value for key, value in optional.items() if value is not None},
    }


def _llama3(said: Metadata, theta: float, size: int) -> dict[str, Any] | None:
    """The parameters that give these factors, proved by computing them again."""
    factors = said.file.read(FACTORS).double().numpy()
    if factors.shape != (size // 2,):
        raise WeightsError(
            f"Tensor '{FACTORS}' of {said.file.path} has the shape {factors.shape}; "
            f"{size // 2} factors are needed, one for each pair of {size} numbers."
        )
    if np.all(factors == 1):
        return None
    freqs = 1.0 / theta ** (np.arange(0, size, 2) / size)
    factor = float(str(np.float32(factors.max())))
    for context, high in (*_solved(freqs, factors, factor), USUAL):
        expected = _factors(freqs, factor, context, high)
        if np.allclose(expected, factors, rtol=TOLERANCE, atol=0):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "original_max_position_embeddings": context,
                "low_freq_factor": 1.0,
                "high_freq_factor": high,
            }
    raise WeightsError(
        f"{said.file.path} scales its rotary positions by the factors of '{FACTORS}', and they are not those of "
        "Llama 3's scaling, the only one that is read. Take the model in safetensors with its config.json instead."
    )


def _solved(freqs: np.ndarray, factors: np.ndarray, factor: float) -> list[tuple[int, float]]:
    """Context and high_freq_factor by the line through the pairs between the bounds, if two lie there."""
    between = (factors > 1) & (factors < factor * (1 - TOLERANCE))
    if between.sum() < 2:
        return []
    share = (1 / factors[between] - 1 / factor) / (1 - 1 / factor)
    slope, below = np.polyfit(freqs[between] / (2 * math.pi), share, 1)
    if below >= 0 or slope <= 0:
        return []
    return [(round(slope / -below), round(1 - 1 / below, 3))]


def _factors(freqs: np.ndarray, factor: float, context: int, high: float) -> np.ndarray:
    """What Llama 3's parameters, with a `low_freq_factor` of 1, divide each frequency by."""
    turns = context * freqs / (2 * math.pi)
    share = np.clip((turns - 1) / (high - 1), 0, 1)
    return 1 / ((1 - share) / factor + share)
