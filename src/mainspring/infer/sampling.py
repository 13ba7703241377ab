"""The choice of the next id from one row of logits, or of many ids from many rows.

In the exact mode every row is worked on alone. Randomness is counter-based (Philox, keyed by the request's seed and
the position), so a seed gives the same ids alone, in a batch and after a preemption.

Shapes: N rows, V vocabulary, K ids to draw from.
"""

from collections.abc import Sequence

import numpy as np
import torch

from mainspring.schema import Sampling


def choose(logits_V: torch.Tensor, sampling: Sampling, seed: int, position: int) -> tuple[int, float]:
    """The next id and its log-probability under the unmodified distribution.

    Args:
        logits_V: scores of every id, float32.
        sampling: temperature 0 takes the greatest score, the lowest id among equals.
        seed: with `position` it fixes the random number that is drawn.
        position: index of the id to choose, counted from the prompt's first.

    """
    if sampling.temperature == 0:
        token_id = int(torch.argmax(logits_V))
    else:
        token_id = _draw(logits_V.double() / sampling.temperature, sampling, seed, position)
    return token_id, float(logits_V[token_id] - torch.logsumexp(logits_V, 0))


def choose_rows(
    rows: Sequence[torch.Tensor],
    samplings: Sequence[Sampling],
    seeds: Sequence[int],
    positions: Sequence[int],
) -> list[tuple[int, float]]:
    """`choose` for many rows at once, in float64; a row's last bits may differ with its neighbors."""
    if any(each.temperature == 0 or each.top_k > 0 or each.top_p < 1 for each in samplings):
        return [choose(*row) for row in zip(rows, samplings, seeds, positions, strict=True)]
    logits_NV = torch.stack(list(rows)).double()
    temperature_N1 = torch.tensor([each.temperature for each in samplings], dtype=torch.float64).unsqueeze(1)
    cumulative_NV = torch.softmax(logits_NV / temperature_N1, 1).cumsum(1)
    points = [_random(seed, position) for seed, position in zip(seeds, positions, strict=True)]
    points_N1 = torch.tensor(points, dtype=torch.float64).unsqueeze(1) * cumulative_NV[:, -1:]
    ids_N1 = torch.searchsorted(cumulative_NV, points_N1, right=True).clamp_(max=logits_NV.shape[1] - 1)
    logprobs_N1 = logits_NV.gather(1, ids_N1) - logits_NV.logsumexp(1, keepdim=True)
    return list(zip(ids_N1[:, 0].tolist(), logprobs_N1[:, 0].tolist(), strict=True))


def _draw(scores_V: torch.Tensor, sampling: Sampling, seed: int, position: int) -> int:
    """Keep the top_k best, then the fewest whose probability reaches top_p (arXiv:1904.09751); draw one."""
    best_K, ids_K = _best(scores_V, sampling)
    cumulative_K = torch.softmax(best_K, 0).cumsum(0)
    keep = int(torch.searchsorted(cumulative_K, min(sampling.top_p, 1.0) * float(cumulative_K[-1]))) + 1
    keep = min(keep, len(cumulative_K))
    point = _random(seed, position) * float(cumulative_K[keep - 1])
    index = int(torch.searchsorted(cumulative_K[:keep], point, right=True))
    return int(ids_K[min(index, keep - 1)])


def _random(seed: int, position: int) -> float:
    """The number in [0, 1) that belongs to a seed and a position."""
    return np.random.Generator(np.random.Philox(key=seed % 2**64, counter=[position, 0, 0, 0])).random()


def _best(scores_V: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """The scores to draw from and their ids, best first where the order matters."""
    if 0 < sampling.top_k < len(scores_V):
        return torch.topk(scores_V, sampling.top_k)
    if sampling.top_p < 1:
        return torch.sort(scores_V, descending=True, stable=True)
    return scores_V, torch.arange(len(scores_V))
