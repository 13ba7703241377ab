"""Every change and filter against transformers' own, alone and together."""

import numpy as np
import pytest
import torch

from mainspring.infer.filters import kept
from mainspring.infer.sampling import Row, Seen, _changed
from mainspring.schema import Sampling

pytestmark = pytest.mark.slow

SIZE, PROMPT, GENERATED = 500, (1, 2, 2, 9), (7, 7, 9, 30)


def oracle(scores_V, sampling):
    """transformers' processors and warpers in the order of its generate()."""
    from transformers.generation import logits_process as hf

    s, ids = sampling, torch.tensor([PROMPT + GENERATED])
    steps = []
    if s.logit_bias:
        steps.append(
            hf.SequenceBiasLogitsProcessor([[[token], bias] for token, bias in s.logit_bias.items()])
        )
    if s.repetition_penalty != 1:
        steps.append(hf.RepetitionPenaltyLogitsProcessor(s.repetition_penalty))
    if s.min_tokens:
        steps.append(hf.MinNewTokensLengthLogitsProcessor(len(PROMPT), s.min_tokens, list(s.stop_ids)))
    steps.append(hf.TemperatureLogitsWarper(s.temperature))
    if s.top_k:
        steps.append(hf.TopKLogitsWarper(s.top_k))
    if s.top_p < 1:
        steps.append(hf.TopPLogitsWarper(s.top_p))
    if s.min_p:
        steps.append(hf.MinPLogitsWarper(s.min_p))
    if s.typical_p < 1:
        steps.append(hf.TypicalLogitsWarper(s.typical_p))
    scores = scores_V.unsqueeze(0)
    for step in steps:
        scores = step(ids, scores)
    return torch.softmax(scores[0].double(), 0).numpy()


def ours(scores_V, sampling):
    seen = Seen(PROMPT)
    for token_id in GENERATED:
        seen.add(token_id)
    row = Row(sampling, 0, 0, num_generated=len(GENERATED), seen=seen)
    ids, weights = kept(_changed(scores_V.numpy(), row), sampling)
    result = np.zeros(SIZE)
    result[np.arange(SIZE) if ids is None else ids] = weights / weights.sum(dtype=np.float64)
    return result


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.4},
        {"top_k": 13},
        {"top_p": 0.7},
        {"top_p": 0.999},
        {"min_p": 0.02},
        {"typical_p": 0.5},
        {"typical_p": 0.95},
        {"repetition_penalty": 1.7},
        {"repetition_penalty": 0.6},
        {"logit_bias": {3: 4.5, 9: -2.0}, "repetition_penalty": 1.4},
        {"min_tokens": 9, "stop_ids": (4, 5)},
        {"top_k": 40, "top_p": 0.9},
        {"temperature": 1.4, "top_k": 60, "top_p": 0.95, "min_p": 0.01},
        {"temperature": 0.8, "top_p": 0.98, "typical_p": 0.9},
        {"temperature": 1.2, "top_k": 90, "top_p": 0.97, "min_p": 0.004, "typical_p": 0.8,
         "repetition_penalty": 1.2, "logit_bias": {8: 1.0}},
    ],
    ids=str,
)  # fmt: skip
def test_the_distribution_is_that_of_transformers(settings, seed):
    scores = torch.randn(SIZE, generator=torch.Generator().manual_seed(seed)) * 2
    sampling = Sampling(**({"temperature": 1.0} | settings))
    wanted, found = oracle(scores, sampling), ours(scores, sampling)
    assert (wanted > 0).tolist() == (found > 0).tolist()
    assert found == pytest.approx(wanted, abs=1e-6)


def test_presence_and_frequency_are_openais_formula():
    scores = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    sampling = Sampling(temperature=1.0, presence_penalty=0.7, frequency_penalty=-0.3)
    expected = scores.double().clone()
    for token in range(SIZE):
        count = GENERATED.count(token)
        expected[token] -= count * -0.3 + (count > 0) * 0.7
    assert ours(scores, sampling) == pytest.approx(torch.softmax(expected, 0).numpy(), abs=1e-7)
