"""Text of any family, without the engine: one pass over the prompt, then one token at a time in a plain cache.

Shapes: T new tokens, S tokens of the source, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence

import torch

from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.memory import Memory
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
    memory: Memory | None = None,
) -> Iterator[int]:
    """Ids that follow `ids`, one by one, until one of `end_ids`, which is not given out.

    `source` is what an encoder-decoder reads; `ids` then begins with the token that starts its answers.
    `memory` votes on every id.
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
        scores_1V = model.logits(hidden_TD[-1:])
        if memory is not None:
            scores_1V = memory.log_probabilities(hidden_TD[-1:], scores_1V)
        token_id = choose(scores_1V[0])
        if token_id in end_ids:
            return
        yield token_id
        new_T = torch.tensor([token_id])
