"""What virtual tokens in front of the text ask of a model and of a pass through it."""

from mainspring.adapt import base as adapters
from mainspring.errors import ConfigError, ContextLengthError
from mainspring.models.attend import Attend, PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.model import Model

FRONT = "front"  # the path of what they are laid over
Surroundings = PackedAttend | CachedAttend


def check_model(model: Model, what: str) -> None:
    """Refuse models that read two streams: it is not said in front of which the tokens would stand."""
    if model.config.encoder is not None:
        raise ConfigError(
            f"This {model.config.family} model has an encoder and a decoder; an adapter of kind '{what}' is made "
            "for models of one stack. Take one of kind 'lora', 'ia3' or 'bottleneck'."
        )


def check_served(model: Model) -> None:
    """See that the active adapter brings no virtual tokens: the engine's pages hold the text's alone."""
    name = adapters.active(model)
    if name is not None and FRONT in adapters.parts(model, name):
        kind = adapters.adapters_of(model).configs[name].kind
        raise ConfigError(
            f"The adapter '{name}' is of kind '{kind}', and the engine has no place for its virtual tokens. Generate "
            "with `mainspring.models.generate.generate`, or train an adapter of kind 'lora', 'ia3' or 'bottleneck'."
        )


def check_pass(attend: Attend, num_virtual: int, context: int) -> Surroundings:
    """Who attends to whom, if there is room for the virtual tokens and a way to bring them.

    Raises:
        ConfigError: neither packed segments nor the plain cache.
        ContextLengthError: text and virtual tokens together are longer than the model's context.

    """
    if not isinstance(attend, PackedAttend | CachedAttend):
        raise ConfigError(
            f"An adapter with virtual tokens is active, for which {type(attend).__name__} has no place. Run the "
            "model over packed segments, or generate with `mainspring.models.generate.generate`."
        )
    longest = max(attend.lengths, default=0) if isinstance(attend, PackedAttend) else attend.num_tokens
    if longest + num_virtual > context:
        raise ContextLengthError(
            f"A text of {longest:,} tokens behind {num_virtual} virtual ones is longer than the model's context "
            f"of {context:,}. Shorten it by {longest + num_virtual - context:,}."
        )
    return attend
