"""Divergences from a teacher against sums over the vocabulary, written out in float64."""

import pytest
import torch
from pydantic import ValidationError

from fakes_objectives import VOCAB, StandIn, assert_same, log_probabilities, one_batch, segment
from mainspring.errors import ConfigError
from mainspring.train.objectives.distill import Distill


def given():
    batch = one_batch([(segment(at),) for at in range(3)])
    generator = torch.Generator().manual_seed(7)
    teacher_NV = 1.5 * torch.randn(len(batch.trained()), VOCAB, generator=generator, dtype=torch.float64)
    batch = batch.with_extra("teacher_logits", teacher_NV)
    return StandIn(batch), batch, teacher_NV


def divergence(p, q, beta):
    """Of one row, outcome by outcome (arXiv:2306.13649, eq. 1 and its two ends)."""
    if beta == 0:
        return sum(p[v] * torch.log(p[v] / q[v]) for v in range(len(p)))
    if beta == 1:
        return sum(q[v] * torch.log(q[v] / p[v]) for v in range(len(p)))
    mixed = [beta * p[v] + (1 - beta) * q[v] for v in range(len(p))]
    return sum(
        beta * p[v] * torch.log(p[v] / mixed[v]) + (1 - beta) * q[v] * torch.log(q[v] / mixed[v])
        for v in range(len(p))
    )


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("temperature", "hard"), [(1.0, 0.0), (2.5, 0.4)])
def test_the_divergence_is_summed_over_the_vocabulary(beta, temperature, hard):
    outputs, batch, teacher_NV = given()
    loss = Distill(beta=beta, temperature=temperature, hard=hard)(outputs, batch)
    at = batch.trained()
    student = (outputs.hidden_TD[at] / temperature).softmax(-1)
    teacher = (teacher_NV / temperature).softmax(-1)
    soft = sum(divergence(p, q, beta) for p, q in zip(teacher, student, strict=True))
    expected = (1 - hard) * soft - hard * log_probabilities(outputs)[at].sum()
    assert loss.count_key == "tokens"
    assert_same(loss.sum, expected, outputs.hidden_TD)


def sparse(batch, teacher_NV, k):
    logp_Nk, ids_Nk = teacher_NV.log_softmax(-1).topk(k)
    size, at = (len(batch.ids), k), batch.trained()
    batch = batch.with_extra("teacher_ids", torch.zeros(size).index_copy(0, at, ids_Nk.float()))
    return batch.with_extra("teacher_logp", torch.zeros(size, dtype=torch.float64).index_copy(0, at, logp_Nk))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rest", ["bucket", "renormalize"])
def test_a_teacher_of_a_few_tokens_has_a_rest_or_none(beta, rest):
    outputs, batch, teacher_NV = given()
    batch = sparse(batch, teacher_NV, 4)
    loss = Distill(beta=beta, top_k=4, rest=rest)(outputs, batch)
    expected = 0
    for scores, said in zip(outputs.hidden_TD[batch.trained()], teacher_NV, strict=True):
        best = said.argsort(descending=True)[:4]
        p, q = said.softmax(-1)[best], scores.softmax(-1)[best]
        if rest == "bucket":
            p, q = (torch.cat([each, 1 - each.sum(0, keepdim=True)]) for each in (p, q))
        else:
            p, q = p / p.sum(), q / q.sum()
        expected = expected + divergence(p, q, beta)
    assert_same(loss.sum, expected, outputs.hidden_TD)


def test_a_teacher_that_knows_no_other_tokens_gives_finite_numbers():
    outputs, batch, _ = given()
    certain_NV = torch.full((len(batch.trained()), VOCAB), -60.0, dtype=torch.float64)
    certain_NV[:, 3] = 60.0
    loss = Distill(top_k=4)(outputs, sparse(batch, certain_NV, 4)).sum
    loss.backward()
    assert loss.isfinite()
    assert outputs.hidden_TD.grad.isfinite().all()


def test_another_vocabulary_and_a_heated_rest_are_refused():
    outputs, batch, teacher_NV = given()
    other = batch.with_extra("teacher_logits", teacher_NV[:, :-1])
    with pytest.raises(ConfigError, match="teacher scores 10 tokens, the student 11"):
        Distill()(outputs, other)
    with pytest.raises(ValidationError, match="renormalize"):
        Distill(top_k=4, temperature=2.0)
