"""What virtual tokens in front of the text ask of a model and of a pass through it."""

from mainspring.errors import ConfigError, ContextLengthError
from mainspring.models.attend import Attend, PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.model import Model

Surroundings = PackedAttend | CachedAttend


def check_model(model: Model, what: str) -> None:
    """Refuse models that read two streams: it is not said in front of which the tokens would stand."""
    if model.config.encoder is not None:
        raise ConfigError(
            f"This {model.config.family} model has an encoder and a decoder; {what} is made for models of one "
            "stack. Take `lora`, `ia3` or `bottleneck`."
        )


def check_pass(attend: Attend, num_virtual: int, context: int) -> Surroundings:
    """Who attends to whom, if there is room for the virtual tokens and a way to bring them.

    Raises:
        ConfigError: the engine's cache, whose pages hold the text's tokens alone.
        ContextLengthError: text and virtual tokens together are longer than the model's context.

    """
    if not isinstance(attend, PackedAttend | CachedAttend):
        raise ConfigError(
            "An adapter with virtual tokens is active, which the engine's cache has no place for. Generate "
            "with `mainspring.models.generate.generate`, or serve a LoRA adapter."
        )
    longest = max(attend.lengths, default=0) if isinstance(attend, PackedAttend) else attend.num_tokens
    if longest + num_virtual > context:
        raise ContextLengthError(
            f"A text of {longest:,} tokens behind {num_virtual} virtual ones is longer than the model's context "
            f"of {context:,}. Shorten it by {longest + num_virtual - context:,}."
        )
    return attend
