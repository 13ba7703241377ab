"""What architectures with mixtures of experts share. Not an architecture itself."""

from typing import Any

from mainspring.errors import WeightsError
from mainspring.models.weights.gguf.metadata import Metadata

STACK = "ffn_gate_exps.weight"  # one matrix an expert, in one tensor


def experts(said: Metadata, count: str) -> dict[str, Any]:
    """How many experts there are and how many a token is sent to; `count` is what the config calls the first.

    Raises:
        WeightsError: no stack of experts, or one of another number than the metadata tell.

    """
    stacked = next((shape[0] for name, shape in said.file.shapes.items() if name.endswith(STACK)), None)
    if stacked is None:
        raise WeightsError(
            f"{said.file.path} tells of {said.whole('expert_count')} experts, but has no tensor '{STACK}' that holds "
            "them. Take a file whose experts are stacked, as they have been written since April 2024."
        )
    said.expect("expert_count", stacked)
    return {count: stacked, "num_experts_per_tok": said.whole("expert_used_count")}
