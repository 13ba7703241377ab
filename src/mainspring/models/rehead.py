"""Another head on the same body: a language model becomes a classifier, a reward model or an embedder."""

from typing import Literal

import torch
from torch import nn

from mainspring.errors import ConfigError
from mainspring.models.config import ModelConfig, Pooling
from mainspring.models.families.base import family
from mainspring.models.init import STD
from mainspring.models.model import Model

HeadKind = Literal["lm", "masked", "classify", "classify_tokens", "none"]
POOLING_KEY, PUBLISHED_POOLINGS = (
    "classifier_pooling",
    ("cls", "mean"),
)  # as ModernBERT's config.json has them


def with_head(
    model: Model, kind: HeadKind, *, num_labels: int = 0, pooling: Pooling | None = None, seed: int = 0
) -> Model:
    """The same weights below another head, as the family publishes it; the head has learnt nothing.

    Args:
        model: whose body is kept (not copied).
        kind: of the head; "none" leaves hidden states, which `pooling` makes one vector.
        num_labels: of a classifying head; 1 for a reward.
        pooling: how a text's hidden states become one vector, where the head is "none"; of a classifying head the
            families say it, ModernBERT for itself also otherwise (cls, mean).
        seed: of the head's weights.

    Raises:
        ConfigError: the family has no such head, or none that pools so.

    """
    config = _config(model.config, kind, num_labels, pooling)
    if pooling is not None and kind == "none":
        config = config.model_copy(update={"pooling": pooling})
    if config.head == model.config.head:
        model.config = config
        return model
    with torch.device("meta"):
        made = Model(config)
    kept = {
        name: each for name, each in model.state_dict(keep_vars=True).items() if not name.startswith("head.")
    }
    generator = torch.Generator().manual_seed(seed)
    if made.head is not None:
        made.head.to_empty(device="cpu")
        _fill(made.head, generator)
    made.load_state_dict(kept, strict=False, assign=True)
    return made.eval()


def _config(config: ModelConfig, kind: HeadKind, num_labels: int, pooling: Pooling | None) -> ModelConfig:
    source = family(config.family)
    published = source.published(config)
    known = _architectures(config.family)
    wanted = "" if kind == "none" else kind
    named = next((name for name, each in known.items() if each == wanted), None)
    if named is None:
        there = ", ".join(each or "none" for each in known.values())
        raise ConfigError(f"The family {config.family} has no head '{kind}'; it has {there}.")
    published["architectures"] = [named]
    if num_labels:
        published.pop("label2id", None)
        published["id2label"] = {str(number): f"LABEL_{number}" for number in range(num_labels)}
    if pooling in PUBLISHED_POOLINGS and POOLING_KEY in published:
        published[POOLING_KEY] = pooling
    made = source.config(published)
    own = made.head.pooling if made.head else pooling
    if pooling not in (None, own):
        how = f"which the family {config.family} gives '{own}'" if own else "which is of every token"
        raise ConfigError(
            f"`pooling` is '{pooling}', but the head is '{kind}', {how}. Leave it out, or take the head 'none'."
        )
    return made


def _architectures(name: str) -> dict[str, str]:
    return family(name).ARCHITECTURES  # type: ignore[attr-defined]


def _fill(head: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=STD, generator=generator)
            else:
                parameter.fill_(1.0 if name == "norm.weight" else 0.0)
