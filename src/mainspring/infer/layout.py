"""What a mixer keeps in the engine's cache: one key and one value a token and key-value head, or none of them."""

from dataclasses import dataclass

from mainspring.models.config import AttentionSpec, LatentSpec, MixerSpec, ModelConfig

STATE_WINDOW = 1
"""A layer with a state needs what the last token left, and nothing before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvLayout:
    """`repeat` query heads share a key-value head. `values_in_keys`: a value is the key's first numbers."""

    num_kv_heads: int = 0
    repeat: int = 1
    key_size: int = 0
    value_size: int = 0
    values_in_keys: bool = False


def kv_layout(mixer: MixerSpec) -> KvLayout:
    if isinstance(mixer, LatentSpec):
        return KvLayout(
            num_kv_heads=1, repeat=mixer.num_heads, key_size=mixer.cached_numbers, value_size=mixer.kv_rank,
            values_in_keys=True,
        )  # fmt: skip
    if isinstance(mixer, AttentionSpec):
        size, repeat = mixer.head_size, mixer.num_heads // mixer.num_kv_heads
        return KvLayout(num_kv_heads=mixer.num_kv_heads, repeat=repeat, key_size=size, value_size=size)
    return KvLayout()


def window_of(config: ModelConfig) -> int | None:
    """How far back the layer looks that looks farthest; None where one sees everything."""
    windows = [_window_of(block.mixer) for block in config.blocks]
    return None if None in windows else max(window for window in windows if window is not None)


def _window_of(mixer: MixerSpec) -> int | None:
    if mixer.state_numbers:
        return STATE_WINDOW
    return mixer.window if isinstance(mixer, AttentionSpec) else None
