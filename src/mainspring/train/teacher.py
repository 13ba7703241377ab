"""A model's own word without the engine: likelihood of given answers, and the oracle for greedy text."""

from collections.abc import Collection, Sequence

import torch

from mainspring.errors import ChatError, ContextLengthError
from mainspring.models.attend import PackedAttend
from mainspring.models.model import Model
from mainspring.train.batch import Segment, pack
from mainspring.train.objectives.sft import token_nll
from mainspring.train.outputs import run_model


@torch.inference_mode()
def answer_nll(model: Model, segments: Sequence[Segment], *, max_tokens: int = 2048) -> list[float]:
    """Mean negative log-likelihood (nats) of each segment's trained tokens, teacher-forced, in order.

    Args:
        model: answers with its active adapter.
        segments: conversations, such as those of a ChatSource's items.
        max_tokens: how many tokens are run at once; a longer segment is run alone.

    """
    for segment in segments:
        if not segment.trained_tokens:
            raise ChatError(f"{segment.name} has no answer whose likelihood could be taken. Leave it out.")
    longest = max((segment.num_tokens for segment in segments), default=0)
    means = [0.0] * len(segments)
    for batch in pack([(segment,) for segment in segments], max(max_tokens, longest)):
        nll_T = token_nll(run_model(model, batch), batch)
        for place in batch.segments:
            total = float(nll_T[place.start : place.start + place.length].sum())
            means[place.index] = total / segments[place.index].trained_tokens
    return means


@torch.inference_mode()
def greedy(model: Model, ids: Sequence[int], max_tokens: int, end_ids: Collection[int]) -> list[int]:
    """The likeliest continuation, token by token, each from a whole forward without a cache.

    Returns:
        The new ids, without the end token; fewer than `max_tokens` where the model ends or the context does.

    """
    context = model.config.context
    if not 0 < len(ids) < context:
        raise ContextLengthError(
            f"The prompt has {len(ids):,} tokens; the model takes 1 to {context - 1:,}, so that an "
            "answer has room. Shorten the prompt."
        )
    all_ids = list(ids)
    while len(all_ids) < min(len(ids) + max_tokens, context):
        hidden_TD = model(torch.tensor(all_ids), torch.arange(len(all_ids)), PackedAttend([len(all_ids)]))
        best = int(model.logits(hidden_TD[-1:]).argmax())
        if best in end_ids:
            break
        all_ids.append(best)
    return all_ids[len(ids) :]
