"""Text of any family, without the engine: one pass over the prompt, then one token at a time in a plain cache.

Shapes: T new tokens, S tokens of the source, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence

import torch

from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.model import Model

Choose = Callable[[torch.Tensor], int]


def greedy(scores_V: torch.Tensor) -> int:
    """The likeliest id."""
    return int(scores_V.argmax())


@torch.inference_mode()
def generate(
    model: Model,
    ids: Sequence[int],
    max_tokens: int,
    *,
    source: Sequence[int] | None = None,
    end_ids: Sequence[int] = (),
    choose: Choose = greedy,
) -> Iterator[int]:
    """Ids that follow `ids`, one by one, until one of `end_ids`, which is not given out.

    `source` is what an encoder-decoder reads; `ids` then begins with the token that starts its answers.
    """
    source_SD = None
    if source is not None:
        source_S = torch.tensor(source)
        source_SD = model.encode(source_S, torch.arange(len(source_S)), PackedAttend([len(source_S)]))
    cache = CachedAttend()
    new_T = torch.tensor(ids)
    room = model.config.context - len(ids)
    for _ in range(min(max_tokens, room)):
        hidden_TD = model(new_T, cache.positions(len(new_T)), cache, source_SD)
        token_id = choose(model.logits(hidden_TD[-1:])[0])
        if token_id in end_ids:
            return
        yield token_id
        new_T = torch.tensor([token_id])
