"""One family of shapes: a model's proportions at any width, so that size is one dial.

width 64: 1 layer ... width 384: 6 layers ... (the proportions of the recipe's own model)
"""

from mainspring.errors import ConfigError
from mainspring.models.config import ModelConfig
from mainspring.models.describe import describe
from mainspring.train.recipe import Published

WIDTH, INNER, LAYERS, HEADS, KV_HEADS = SIZE_KEYS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"
)  # fmt: skip
WIDTHS = (
    32,
    48,
    64,
    80,
    96,
    128,
    160,
    192,
    224,
    256,
    320,
    384,
    448,
    512,
    640,
    768,
    896,
    1024,
    1280,
    1536,
    2048,
)
BACKWARD = 2  # a backward pass is the work of two forward ones


def shaped(published: Published, width: int) -> Published:
    """A model of the same proportions, of another width.

    Layers grow with the width, heads keep their size (or a half, a quarter of it, where it does not divide the
    width or leaves a single head), and the feed-forward part keeps its ratio, in steps of 8.
    """
    base = _sizes(published)
    head = base[WIDTH] // base[HEADS]
    head = next(
        (size for size in (head, head // 2, head // 4) if size and width % size == 0 and size < width), width
    )
    heads = width // head
    made = {
        WIDTH: width, INNER: 8 * max(1, round(width * base[INNER] / base[WIDTH] / 8)),
        LAYERS: max(1, round(width * base[LAYERS] / base[WIDTH])), HEADS: heads,
    }  # fmt: skip
    if KV_HEADS in published:
        wanted = max(1, round(heads * base[KV_HEADS] / base[HEADS]))
        made[KV_HEADS] = next(count for count in range(wanted, 0, -1) if heads % count == 0)
    return {**published, **made}


def is_of_family(model: Published, base: Published) -> bool:
    """Whether a model has the proportions of another one, as `shaped` rounds them."""
    width = model.get(WIDTH)
    return isinstance(width, int) and shaped(base, width) == model


def work_per_token(config: ModelConfig) -> int:
    """Floating-point operations that a trained token takes, with its attention over half the context."""
    return (1 + BACKWARD) * describe(config, at_tokens=config.context // 2).work_flops


def _sizes(published: Published) -> dict[str, int]:
    missing = [key for key in (WIDTH, INNER, LAYERS, HEADS) if not isinstance(published.get(key), int)]
    if missing:
        raise ConfigError(
            f"`model` tells no {', '.join(missing)}, so it cannot be made larger or smaller. Give a model that names "
            f"{', '.join(SIZE_KEYS[:4])}, such as that of the preset 'pretrain'."
        )
    return {key: published[key] for key in SIZE_KEYS if key in published}
