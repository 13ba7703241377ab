import pytest
import torch

from mainspring.models.attend import BAND, PackedAttend, Scoring, reference_attend
from mainspring.models.cache import CachedAttend


def heads(num_tokens, num_heads, *, seed=0):
    return torch.randn(num_tokens, num_heads, 8, generator=torch.Generator().manual_seed(seed))


def by_distance(distance_LM):
    return torch.stack([-0.3 * distance_LM.abs(), 0.2 * distance_LM, 0 * distance_LM, -0.1 * distance_LM])


SCORINGS = {
    "causal": Scoring(scale=0.4),
    "both ways": Scoring(scale=0.4, causal=False),
    "window": Scoring(scale=0.4, window=3),
    "window both ways": Scoring(scale=0.4, window=4, causal=False),
    "window with global tokens": Scoring(scale=0.4, window=2, num_global=1),
    "window both ways with global tokens": Scoring(scale=0.4, window=2, num_global=1, causal=False),
    "bent": Scoring(scale=0.4, softcap=1.5),
    "bent window": Scoring(scale=0.4, softcap=1.5, window=2),
    "by distance": Scoring(scale=0.4, bias=by_distance),
    "by distance both ways": Scoring(scale=0.4, bias=by_distance, causal=False, softcap=3.0),
}


@pytest.mark.parametrize("scoring", SCORINGS.values(), ids=SCORINGS)
@pytest.mark.parametrize("lengths", [[5], [3, 3, 3], [1, 4, 4, 2, 4], [2, 0, 2], [9]])
def test_each_packed_segment_gets_what_it_gets_alone_by_the_formula(lengths, scoring):
    num_tokens = sum(lengths)
    q, k, v = heads(num_tokens, 4), heads(num_tokens, 2, seed=1), heads(num_tokens, 2, seed=2)
    out = PackedAttend(lengths)(0, q, k, v, scoring)
    parts = zip(q.split(lengths), k.split(lengths), v.split(lengths), strict=True)
    alone = torch.cat([reference_attend(*part, scoring) for part in parts if len(part[0])])
    torch.testing.assert_close(out, alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in SCORINGS if "window" in name])
@pytest.mark.parametrize("length", [BAND, 2 * BAND + 5, 2 * BAND + 17, 3 * BAND, 3 * BAND + 1])
def test_windows_of_long_segments_are_read_in_bands_that_change_nothing(name, length):
    q, k, v = heads(2 * length, 4), heads(2 * length, 2, seed=1), heads(2 * length, 2, seed=2)
    out = PackedAttend([length, length])(0, q, k, v, SCORINGS[name])
    parts = zip(q.split(length), k.split(length), v.split(length), strict=True)
    alone = torch.cat([by_mask(*part, SCORINGS[name]) for part in parts])
    torch.testing.assert_close(out, alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("num_new", [1, 3, BAND + 1])
@pytest.mark.parametrize("name", ["window", "window with global tokens", "bent window"])
def test_a_cache_reads_the_same_bands(name, num_new):
    length = 3 * BAND + 40
    q, k, v = heads(length, 4), heads(length, 2, seed=1), heads(length, 2, seed=2)
    cache, steps = CachedAttend(), [length - num_new, num_new]
    parts = zip(q.split(steps), k.split(steps), v.split(steps), strict=True)
    out = torch.cat([cache(0, *part, SCORINGS[name]) for part in parts])
    torch.testing.assert_close(out, by_mask(q, k, v, SCORINGS[name]), atol=1e-6, rtol=1e-5)


def by_mask(q_THK, k_TGK, v_TGV, scoring):
    """All scores of one segment at once, those that are not seen left out."""
    place = torch.arange(len(q_THK))
    distance = place - place.unsqueeze(1)
    near = (distance.abs() <= scoring.reach[0]) | (place < scoring.num_global)
    seen = near & (distance <= 0) if scoring.causal else near
    scores = torch.einsum("lhk,mhk->hlm", q_THK, k_TGK.repeat_interleave(2, 1)) * scoring.scale
    if scoring.softcap is not None:
        scores = torch.tanh(scores / scoring.softcap) * scoring.softcap
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return torch.einsum("hlm,mhv->lhv", weights, v_TGV.repeat_interleave(2, 1))


def test_a_segment_looks_at_its_own_source_and_at_all_of_it():
    lengths, source_lengths = [2, 3, 3], [4, 1, 6]
    q, k, v = heads(8, 4), heads(11, 2, seed=1), heads(11, 2, seed=2)
    scoring = Scoring(scale=0.4, causal=False)
    out = PackedAttend(lengths, source_lengths).cross(0, q, lambda: (k, v), scoring)
    parts = zip(q.split(lengths), k.split(source_lengths), v.split(source_lengths), strict=True)
    expected = []
    for q_part, k_part, v_part in parts:
        scores = torch.einsum("thk,shk->hts", q_part, k_part.repeat_interleave(2, 1)) * 0.4
        expected.append(torch.einsum("hts,shk->thk", scores.softmax(-1), v_part.repeat_interleave(2, 1)))
    torch.testing.assert_close(out, torch.cat(expected), atol=1e-6, rtol=1e-5)


def test_what_stands_behind_the_last_segment_gets_zeros():
    x = heads(7, 2)
    out = PackedAttend([2, 2])(0, x, x, x, Scoring(scale=1.0))
    assert out.shape == x.shape
    assert torch.equal(out[4:], torch.zeros(3, 2, 8))


def test_no_gradient_flows_from_one_segment_to_another():
    x = heads(6, 2).requires_grad_()
    PackedAttend([3, 3])(0, x, x, x, Scoring(scale=1.0, causal=False))[:3].sum().backward()
    assert x.grad is not None
    assert x.grad[:3].abs().sum() > 0
    assert torch.equal(x.grad[3:], torch.zeros(3, 2, 8))
