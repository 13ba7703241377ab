"""The choice of the next ids from rows of scores, and what is said of them.

scores -> log-probabilities, entropy and alternatives, of the distribution as it is
       -> logit bias -> penalties -> mask, min_tokens -> temperature -> filters -> draw

Bias before penalties is the order of vLLM, transformers and llama.cpp alike; the filters follow transformers.
Every row is worked on alone, in numpy, in one thread: its bits depend on nothing but itself, whatever stands beside
it. Randomness is counter-based (Philox, keyed by the request's seed and the position), so a seed gives the same ids
alone, in a batch and after a preemption.

Shapes: N rows, V vocabulary, K ids to draw from.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mainspring.errors import ConfigError
from mainspring.infer.filters import FAR, Floats, kept, nearest
from mainspring.schema import Sampling

if TYPE_CHECKING:  # whoever sends requests to another process needs no torch
    import torch

GREEDY_BELOW = 1e-5
"""A temperature under this takes the best id; so does vLLM."""

MAX_ALTERNATIVES = 200
GROUP = 256


class Seen:
    """The ids that a sequence holds, for penalties: those of its prompt, and how often it generated which."""

    def __init__(self, prompt_ids: Iterable[int]) -> None:
        self._prompt = np.unique(np.fromiter(prompt_ids, np.int64))
        self._generated: dict[int, int] = {}

    def add(self, token_id: int) -> None:
        """Note one generated id."""
        self._generated[token_id] = self._generated.get(token_id, 0) + 1

    def penalize(self, scores_V: Floats, sampling: Sampling) -> None:
        """Lower what was seen, in place.

        repetition_penalty divides positive and multiplies negative scores of all ids seen (CTRL, arXiv:1909.05858,
        section 4.1); presence and frequency are subtracted once and by count, for generated ids alone (OpenAI's
        formula). A draft model may know fewer ids than were seen.
        """
        size, num = len(scores_V), len(self._generated)
        ids_K, times_K = (
            np.fromiter(each, np.int64, num) for each in (self._generated, self._generated.values())
        )
        if sampling.repetition_penalty != 1:
            all_ids = np.union1d(self._prompt, ids_K)
            all_ids = all_ids[all_ids < size]
            factor = np.float32(sampling.repetition_penalty)
            found = scores_V[all_ids]
            scores_V[all_ids] = np.where(found > 0, found / factor, found * factor)
        if sampling.presence_penalty or sampling.frequency_penalty:
            penalty_K = times_K.astype(np.float32) * np.float32(sampling.frequency_penalty)
            penalty_K += np.float32(sampling.presence_penalty)
            scores_V[ids_K[ids_K < size]] -= penalty_K[ids_K < size]


@dataclass(slots=True)
class Row:
    """What the choice of one id depends on besides its scores.

    `position` is the index, in the sequence, of the id to choose; with `seed` it fixes the random number. `mask` has
    one bit an id, 1 for those that a grammar allows (uint32, the lowest bit first).
    """

    sampling: Sampling
    seed: int
    position: int
    num_generated: int = 0
    seen: Seen | None = None
    end_ids: tuple[int, ...] = ()
    mask: np.ndarray | None = None


@dataclass(slots=True)
class Chosen:
    """An id, its log-probability, the entropy (nats) and the best ids: all of the distribution before any change.

    A `logprob` that is no number says that nothing could be chosen: scores that are no numbers, or a mask that
    allows nothing. The request must end with an error.
    """

    id: int
    logprob: float
    entropy: float
    alternatives: tuple[tuple[int, float], ...] = ()


class Summary(NamedTuple):
    """Of a row of scores: the lowest id among those of the greatest score, log sum exp, and the entropy in nats."""

    best: int
    log_sum: float
    entropy: float


Summarize = Callable[["torch.Tensor", Sequence[int]], list[Summary]]
"""Sums up the rows of scores_NV at the places given, each by itself."""


def summarize(scores_NV: "torch.Tensor", places: Sequence[int]) -> list[Summary]:
    """In numpy; a backend may have a faster way."""
    array_NV = scores_NV.cpu().numpy()
    far_V, weight_V = (np.empty(array_NV.shape[1], array_NV.dtype) for _ in range(2))
    found = []
    with np.errstate(all="ignore"):  # broken scores are told of by sums that are no numbers
        for place in places:
            scores_V = array_NV[place]
            best = int(scores_V.argmax())
            np.minimum(np.subtract(scores_V[best], scores_V, out=far_V), FAR, out=far_V)
            np.exp(np.negative(far_V, out=weight_V), out=weight_V)
            total = float(weight_V.sum())
            log_total = math.log(total) if total > 0 else math.nan
            entropy = log_total + float(np.multiply(weight_V, far_V, out=weight_V).sum()) / total
            found.append(Summary(best, float(scores_V[best]) + log_total, entropy))
    return found


def pick_rows(scores_NV: "torch.Tensor", rows: Sequence[Row]) -> list[int]:
    """The next ids by each row's wishes, with nothing said of them."""
    with np.errstate(all="ignore"):
        pairs = zip(scores_NV.cpu().numpy(), rows, strict=True)
        return [_pick(_changed(scores_V, row), row) for scores_V, row in pairs]


def choose_rows(
    scores_NV: "torch.Tensor", places: Sequence[int], rows: Sequence[Row], summarize: Summarize = summarize
) -> list[Chosen]:
    """The next id by each row's wishes; scores float32, (N, V); rows[i] is about scores_NV[places[i]]."""
    array_NV, chosen = scores_NV.cpu().numpy(), []
    summaries = summarize(scores_NV, places)
    with np.errstate(all="ignore"):
        for place, row, summary in zip(places, rows, summaries, strict=True):
            scores_V, sampling = array_NV[place], row.sampling
            changed_V = _changed(scores_V, row)
            is_known = changed_V is scores_V and sampling.temperature < GREEDY_BELOW
            token_id = summary.best if is_known else _pick(changed_V, row)
            chosen.append(_chosen(scores_V, token_id, summary, sampling.logprobs))
            if changed_V[token_id] == -np.inf:
                chosen[-1].logprob = math.nan
    return chosen


def prompt_logprobs(
    scores_NV: "torch.Tensor", ids: Sequence[int], count: int | None, summarize: Summarize = summarize
) -> list[Chosen]:
    """The same said of given ids, with `count` alternatives: ids[i] stands where scores_NV[i] was the prediction."""
    every = zip(scores_NV.cpu().numpy(), ids, summarize(scores_NV, range(len(ids))), strict=True)
    with np.errstate(all="ignore"):
        return [_chosen(scores_V, given, summary, count) for scores_V, given, summary in every]


def _chosen(scores_V: Floats, token_id: int, summary: Summary, count: int | None) -> Chosen:
    """What is said of an id, with that many alternatives."""
    chosen = Chosen(token_id, float(scores_V[token_id]) - summary.log_sum, summary.entropy)
    if count:
        ids_K = nearest(scores_V.max() - scores_V, count)
        logprob_K = scores_V[ids_K].astype(np.float64) - summary.log_sum
        chosen.alternatives = tuple(zip(ids_K.tolist(), logprob_K.tolist(), strict=True))
    return chosen


def check(sampling: Sampling, *, vocab_size: int = 2**31) -> None:
    """Refuse values that mean nothing, before they reach the thread that all requests share.

    Raises:
        ConfigError: names the field, its value and what it may be.

    """
    s, size, most = sampling, vocab_size, MAX_ALTERNATIVES
    named, counts = {*s.logit_bias, *s.stop_ids}, (None, *range(most + 1))
    wrong = {
        "seed": (s.seed, "from -2**63 to 2**64 - 1", -(2**63) <= (s.seed or 0) < 2**64),
        "temperature": (s.temperature, "0 or more", 0 <= s.temperature < math.inf),
        "top_k": (s.top_k, "0 (all) or more", s.top_k >= 0),
        "top_p": (s.top_p, "above 0 and at most 1", 0 < s.top_p <= 1),
        "min_p": (s.min_p, "from 0 to 1", 0 <= s.min_p <= 1),
        "typical_p": (s.typical_p, "above 0 and at most 1", 0 < s.typical_p <= 1),
        "repetition_penalty": (s.repetition_penalty, "above 0", 0 < s.repetition_penalty < math.inf),
        "presence_penalty": (s.presence_penalty, "from -2 to 2", -2 <= s.presence_penalty <= 2),
        "frequency_penalty": (s.frequency_penalty, "from -2 to 2", -2 <= s.frequency_penalty <= 2),
        "logit_bias": (s.logit_bias, "from -100 to 100", all(-100 <= b <= 100 for b in s.logit_bias.values())),
        "logit_bias, stop_ids": (sorted(named), f"ids from 0 to {size - 1:,}", all(0 <= i < size for i in named)),
        "max_tokens": (s.max_tokens, "1 or more", s.max_tokens >= 1),
        "min_tokens": (s.min_tokens, "from 0 to max_tokens", 0 <= s.min_tokens <= s.max_tokens),
        "logprobs": (s.logprobs, f"from 0 to {most}", s.logprobs in counts),
        "prompt_logprobs": (s.prompt_logprobs, f"from 0 to {most}", s.prompt_logprobs in counts),
    }  # fmt: skip
    for name, (value, expected, is_right) in wrong.items():
        if not is_right:
            raise ConfigError(f"`{name}` is {value}; it must be {expected}. Correct it in the request.")


def _changed(scores_V: Floats, row: Row) -> Floats:
    """The scores with bias, penalties, mask and min_tokens; the very same array where nothing changes."""
    sampling, size = row.sampling, len(scores_V)
    result_V = scores_V.copy() if sampling.logit_bias or row.seen is not None else scores_V
    if sampling.logit_bias:
        ids = [each for each in sampling.logit_bias if each < size]
        result_V[ids] += np.array([sampling.logit_bias[each] for each in ids], np.float32)
    if row.seen is not None:
        row.seen.penalize(result_V, sampling)
    if row.mask is not None:  # ids that it does not reach are not allowed
        is_allowed_V = np.unpackbits(row.mask.view(np.uint8), count=size, bitorder="little").view(np.bool_)
        result_V = np.where(is_allowed_V, result_V, np.float32(-np.inf))
    if row.num_generated < sampling.min_tokens:
        ends = [each for each in (*row.end_ids, *sampling.stop_ids) if each < size]
        without_V = result_V.copy()
        without_V[ends] = -np.inf
        # A grammar that is done allows nothing but an end; then min_tokens gives way.
        result_V = without_V if without_V.max() > -np.inf or row.mask is None else result_V
    return result_V


def _pick(changed_V: Floats, row: Row) -> int:
    """The best id, or one of the kept ids, by the inverse of their cumulative weights at the row's random number."""
    best = int(changed_V.argmax())
    if row.sampling.temperature < GREEDY_BELOW or not changed_V[best] > -np.inf:
        return best
    ids_K, weight_K = kept(changed_V, row.sampling)
    index = _place(weight_K, _random(row.seed, row.position))
    return index if ids_K is None else int(ids_K[index])


def _place(weight_K: Floats, part: float) -> int:
    """Where the cumulative weights pass that part of all; of a large vocabulary they are summed in groups first."""
    total_G = np.cumsum(np.add.reduceat(weight_K, range(0, len(weight_K), GROUP), dtype=np.float64))
    point = part * total_G[-1]
    group = _passed(total_G, point)
    cumulative_K = np.cumsum(weight_K[group * GROUP : (group + 1) * GROUP], dtype=np.float64)
    return group * GROUP + _passed(cumulative_K, point - (total_G[group - 1] if group else 0.0))


def _passed(cumulative_K: np.ndarray, point: float) -> int:
    """The first place that is greater than the point, or the last one with a weight, should the point round up."""
    last = int(np.searchsorted(cumulative_K, cumulative_K[-1]))
    return min(int(np.searchsorted(cumulative_K, point, side="right")), last)


def _random(seed: int, position: int) -> float:
    """The number in [0, 1) that belongs to a seed and a position."""
    return np.random.Generator(np.random.Philox(key=seed % 2**64, counter=[position, 0, 0, 0])).random()
