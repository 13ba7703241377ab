"""The plain cache: keys, values and states of a few segments that grow together, as they were computed.

It serves every family, also those that look back in other ways than by keys and values, and is what the
engine's paged cache is tested against. Shapes as in attend.py.
"""

from collections.abc import Callable, Iterator

import torch

from mainspring.models.attend import Run, Scoring, State, attend_batch


class CachedAttend:
    """An Attend that remembers: each forward pass brings the next tokens of `num_segments` equal segments.

    `num_tokens` is how many of each of them have come, those of the coming forward pass among them.
    """

    is_cache = True

    def __init__(self, num_segments: int = 1) -> None:
        self.num_segments = num_segments
        self._keys: dict[int, torch.Tensor] = {}
        self._values: dict[int, torch.Tensor] = {}
        self._sources: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._states: dict[int, State] = {}
        self.num_tokens = 0

    @property
    def num_numbers(self) -> int:
        """How many numbers of keys and values are kept, over all layers and segments."""
        return sum(tensor.numel() for kept in (self._keys, self._values) for tensor in kept.values())

    def positions(self, num_new: int) -> torch.Tensor:
        """pos_T of the next `num_new` tokens of every segment, which the coming forward pass brings."""
        pos_L = torch.arange(self.num_tokens, self.num_tokens + num_new)
        self.num_tokens += num_new
        return pos_L.repeat(self.num_segments)

    def begin_with(self, layer: int, k_PGK: torch.Tensor, v_PGV: torch.Tensor) -> None:
        """Keys and values that every segment has before its own; without effect once a layer has some."""
        if layer not in self._keys:
            shape = (self.num_segments, -1, -1, -1)
            self._keys[layer] = k_PGK.transpose(0, 1).expand(shape)
            self._values[layer] = v_PGV.transpose(0, 1).expand(shape)

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGV: torch.Tensor, scoring: Scoring
    ) -> torch.Tensor:
        q_BHLK, k_BGLK, v_BGLV = (self._batched(x) for x in (q_THK, k_TGK, v_TGV))
        k_BGLK = self._keys[layer] = _grown(self._keys.get(layer), k_BGLK)
        if scoring.values_in_keys:
            v_BGLV = k_BGLK[..., : v_BGLV.shape[-1]]
        else:
            v_BGLV = self._values[layer] = _grown(self._values.get(layer), v_BGLV)
        first = k_BGLK.shape[2] - q_BHLK.shape[2]
        return attend_batch(q_BHLK, k_BGLK, v_BGLV, scoring, first).transpose(1, 2).flatten(0, 1)

    def cross(
        self,
        layer: int,
        q_THK: torch.Tensor,
        source: Callable[[], tuple[torch.Tensor, torch.Tensor]],
        scoring: Scoring,
    ) -> torch.Tensor:
        if layer not in self._sources:
            k_SGK, v_SGV = source()
            self._sources[layer] = self._batched(k_SGK), self._batched(v_SGV)
        q_BHLK, (k_BGMK, v_BGMV) = self._batched(q_THK), self._sources[layer]
        return attend_batch(q_BHLK, k_BGMK, v_BGMV, scoring).transpose(1, 2).flatten(0, 1)

    def runs(self, layer: int) -> Iterator[Run]:
        def keep(state: State) -> None:
            self._states[layer] = state

        yield Run(slice(None), self.num_segments, -1, self._states.get(layer), keep)

    def pad(self, num_rows: int) -> int:
        return num_rows

    def _batched(self, x_TGK: torch.Tensor) -> torch.Tensor:
        return x_TGK.unflatten(0, (self.num_segments, -1)).transpose(1, 2)


def _grown(old_BGLK: torch.Tensor | None, new_BGLK: torch.Tensor) -> torch.Tensor:
    return new_BGLK if old_BGLK is None else torch.cat([old_BGLK, new_BGLK], dim=2)
