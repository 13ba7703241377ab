"""Every method against its formula in float64, and against peft's pieces."""

import math

import pytest
import torch
from peft.utils import merge_utils as peft

from mainspring.adapt.merge import Dare, Linear, Slerp, Task, Ties
from mainspring.adapt.merge.base import merge_tensors
from mainspring.adapt.merge.dare import thin
from mainspring.adapt.merge.ties import elect, trim
from mainspring.errors import ConfigError

WEIGHTS = [0.7, 1.6, 0.5]


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.fixture
def base():
    return drawn(7, 5, seed=9)


@pytest.fixture
def parents(base):
    return [base + 0.1 * drawn(7, 5, seed=number) for number in range(3)]


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_linear_is_the_weighted_mean(parents):
    a, b, c = parents
    assert_close(merge_tensors(Linear(), parents, WEIGHTS, None, "w"), (0.7 * a + 1.6 * b + 0.5 * c) / 2.8)
    found = merge_tensors(Linear(normalize=False), parents, WEIGHTS, None, "w")
    assert_close(found, 0.7 * a + 1.6 * b + 0.5 * c)


def test_task_arithmetic_adds_what_was_learnt_and_unlearns_with_a_negative_weight(base, parents):
    a, b, _ = parents
    found = merge_tensors(Task(), [a, b], [0.5, -2.0], base, "w")
    assert_close(found, base + 0.5 * (a - base) - 2.0 * (b - base))


def ties_in_loops(base, parents, weights, density):
    """The paper's algorithm 1 with numbers instead of tensors."""
    deltas = [(parent - base).flatten().tolist() for parent in parents]
    trimmed = []
    for delta in deltas:
        order = sorted(range(len(delta)), key=lambda place: -abs(delta[place]))
        kept = set(order[: int(density * len(delta))])
        trimmed.append([value if place in kept else 0.0 for place, value in enumerate(delta)])
    merged = []
    for values in zip(*trimmed, strict=True):
        sign = 1 if sum(values) >= 0 else -1
        chosen = [(v, w) for v, w in zip(values, weights, strict=True) if v * sign > 0]
        merged.append(sum(v * w for v, w in chosen) / max(1, len(chosen)))
    return base + torch.tensor(merged, dtype=base.dtype).view_as(base)


@pytest.mark.parametrize("density", [0.2, 0.55, 1.0])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], WEIGHTS])
def test_ties_is_the_papers_algorithm_and_pefts(base, parents, weights, density):
    found = merge_tensors(Ties(density=density), parents, weights, base, "w")
    assert_close(found, ties_in_loops(base, parents, weights, density))
    deltas = [parent - base for parent in parents]
    if density < 1:
        theirs = peft.ties(deltas, torch.tensor(weights, dtype=torch.float64), density)
        assert_close(found, base + theirs)


def test_trimming_and_election_are_pefts_where_some_agree_and_some_are_zero():
    tensors = [drawn(40, seed=number) for number in range(4)]
    trimmed = [trim(each, 0.3) for each in tensors]
    for each, ours in zip(tensors, trimmed, strict=True):
        assert torch.equal(ours, peft.prune(each, 0.3, method="magnitude"))
    stacked = torch.stack(trimmed)
    theirs = peft.disjoint_merge(stacked, peft.calculate_majority_sign_mask(stacked))
    assert_close(elect(trimmed, [1.0] * 4), theirs)


@pytest.mark.parametrize("combined_by", ["linear", "ties"])
def test_dare_keeps_rescales_and_then_combines_as_peft_does(base, parents, combined_by):
    method = Dare(density=0.4, combined_by=combined_by, seed=3)
    deltas = [parent - base for parent in parents]
    thinned = [thin(delta, 0.4, f"3/w/{index}") for index, delta in enumerate(deltas)]
    for delta, ours in zip(deltas, thinned, strict=True):
        assert torch.equal(ours, torch.where(ours == 0, 0.0, delta / 0.4))
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    if combined_by == "linear":
        expected = peft.task_arithmetic(thinned, weights)
    else:
        stacked = torch.stack(thinned)
        weighted = stacked * weights[:, None, None]
        expected = peft.disjoint_merge(weighted, peft.calculate_majority_sign_mask(stacked))
    assert_close(merge_tensors(method, parents, WEIGHTS, base, "w"), base + expected)


def test_dares_chance_is_the_density_its_mean_the_delta_and_its_draw_the_seeds():
    delta = torch.ones(200, 200)
    found = thin(delta, 0.25, "0/w/0")
    assert float((found != 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(found.mean()) == pytest.approx(1.0, abs=0.04)
    assert torch.equal(found, thin(delta, 0.25, "0/w/0"))
    others = [thin(delta, 0.25, seed) for seed in ("1/w/0", "0/v/0", "0/w/1")]
    assert not any(torch.equal(found, other) for other in others)
    assert torch.equal(thin(delta, 1.0, "s"), delta)


def test_slerp_follows_the_arc(parents):
    first, second = parents[0], 3.0 * parents[1]
    found = merge_tensors(Slerp(), [first, second], [3.0, 1.0], None, "w")
    angle = math.acos(float((first * second).sum() / (first.norm() * second.norm())))
    wanted = (math.sin(0.75 * angle) * first + math.sin(0.25 * angle) * second) / math.sin(angle)
    assert_close(found, wanted)


def test_slerp_between_unit_vectors_stays_a_unit_vector():
    one, other = (each / each.norm() for each in (drawn(9), drawn(9, seed=1)))
    for part in (0.0, 0.3, 1.0):
        found = Slerp().combine([one, other], [1 - part, part], "w")
        assert float(found.norm()) == pytest.approx(1.0, abs=1e-12)
    assert_close(Slerp().combine([one, other], [0.0, 1.0], "w"), other)


@pytest.mark.parametrize("factor", [2.0, -2.0, 0.0])
def test_slerp_without_an_arc_goes_straight(factor):
    one = drawn(9)
    assert_close(Slerp().combine([one, factor * one], [1.0, 1.0], "w"), (1 + factor) / 2 * one)


@pytest.mark.parametrize(
    ("method", "weights", "message"),
    [
        (Slerp(), [1.0, 1.0, 1.0], "takes 2 of them, .* not 3 with 1.0, 1.0, 1.0"),
        (Slerp(), [2.0, -1.0], "weights of 0 or more"),
        (Linear(), [1.0, -1.0], "add up to 0"),
    ],
)
def test_weights_that_mean_nothing_are_refused(method, weights, message):
    with pytest.raises(ConfigError, match=message):
        method.check(weights)
