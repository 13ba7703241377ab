"""What decoders with mixtures of experts share. Not a family itself."""

from mainspring.errors import WeightsError
from mainspring.models.config import ModelConfig, MoeSpec
from mainspring.models.families.base import Patterns
from mainspring.models.parts.moe import SCORES_A_GROUP

EXPERTS: Patterns = {
    "ffn.router.weight": "mlp.gate.weight",
    "ffn.experts.{e}.gate.weight": "mlp.experts.{e}.gate_proj.weight",
    "ffn.experts.{e}.up.weight": "mlp.experts.{e}.up_proj.weight",
    "ffn.experts.{e}.down.weight": "mlp.experts.{e}.down_proj.weight",
}


def checked(spec: MoeSpec) -> MoeSpec:
    """Refuse a router that could not choose.

    Raises:
        WeightsError: more chosen experts than there are to choose from, or groups that do not come out even.

    """
    size, rest = divmod(spec.num_experts, spec.num_groups)
    if rest or (spec.num_groups > 1 and size < SCORES_A_GROUP) or spec.num_chosen_groups > spec.num_groups:
        raise WeightsError(
            f"config.json puts {spec.num_experts} experts into {spec.num_groups} groups and chooses among "
            f"{spec.num_chosen_groups} of them; groups must be equal, of {SCORES_A_GROUP} experts or more."
        )
    most = size * spec.num_chosen_groups
    if not 1 <= spec.num_chosen <= most:
        raise WeightsError(
            f"config.json sends a token to {spec.num_chosen} experts; it must be 1 to {most}, as many as the "
            "router can choose from."
        )
    return spec


def mixtures(config: ModelConfig) -> list[MoeSpec]:
    """The layers' experts, layers without experts left out."""
    return [block.ffn for block in config.blocks if isinstance(block.ffn, MoeSpec)]
