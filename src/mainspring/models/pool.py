"""The hidden states of a text become one vector.

Shapes: T tokens of packed segments, N segments, D width.
"""

from collections.abc import Sequence

import torch

from mainspring.models.config import Pooling


def pool(hidden_TD: torch.Tensor, lengths: Sequence[int], pooling: Pooling) -> torch.Tensor:
    """One vector (N, D) for every segment: that of its first or last token, the mean, or the largest numbers."""
    length_N = torch.tensor(lengths)
    end_N = length_N.cumsum(0)
    if pooling == "cls":
        return hidden_TD[end_N - length_N]
    if pooling == "last":
        return hidden_TD[end_N - 1]
    segment_T = torch.arange(len(lengths)).repeat_interleave(length_N)
    if pooling == "mean":
        sum_ND = hidden_TD.new_zeros(len(lengths), hidden_TD.shape[1]).index_add_(0, segment_T, hidden_TD)
        return sum_ND / length_N.unsqueeze(1)
    index_TD = segment_T.unsqueeze(1).expand_as(hidden_TD)
    lowest_ND = hidden_TD.new_full((len(lengths), hidden_TD.shape[1]), float("-inf"))
    return lowest_ND.scatter_reduce(0, index_TD, hidden_TD, "amax")
