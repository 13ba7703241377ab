"""What a mixer keeps in the engine's cache, one key and one value a token and key-value head."""

from dataclasses import dataclass

from mainspring.models.config import AttentionSpec, LatentSpec, MixerSpec, ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class KvLayout:
    """`repeat` query heads share a key-value head. `values_in_keys`: a value is the key's first numbers."""

    num_kv_heads: int
    repeat: int
    key_size: int
    value_size: int
    values_in_keys: bool


def kv_layout(mixer: MixerSpec) -> KvLayout:
    if isinstance(mixer, LatentSpec):
        return KvLayout(
            num_kv_heads=1,
            repeat=mixer.num_heads,
            key_size=mixer.kv_rank + mixer.rope_size,
            value_size=mixer.kv_rank,
            values_in_keys=True,
        )
    assert isinstance(mixer, AttentionSpec), (
        f"a mixer of kind '{mixer.kind}' keeps no keys; is_served says so"
    )
    return KvLayout(
        num_kv_heads=mixer.num_kv_heads,
        repeat=mixer.num_heads // mixer.num_kv_heads,
        key_size=mixer.head_size,
        value_size=mixer.head_size,
        values_in_keys=False,
    )


def window_of(config: ModelConfig) -> int | None:
    """How far back the layer looks that looks farthest; None where one sees everything."""
    windows = [
        block.mixer.window if isinstance(block.mixer, AttentionSpec) else None for block in config.blocks
    ]
    return None if None in windows else max(window for window in windows if window is not None)
