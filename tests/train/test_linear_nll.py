import pytest
import torch
from torch.nn.functional import cross_entropy

from mainspring.train import linear_nll as module
from mainspring.train.batch import Segment, pack
from mainspring.train.linear_nll import linear_nll, plain_head
from mainspring.train.objectives.sft import Sft
from mainspring.train.outputs import run_model


def drawn(num_rows, *, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(count, 16, generator=generator).to(dtype) for count in (num_rows, 50))
    return (
        hidden.requires_grad_(),
        weight.requires_grad_(),
        torch.randint(50, (num_rows,), generator=generator),
    )


@pytest.mark.parametrize("num_rows", [0, 1, 23])
def test_it_is_cross_entropy_of_the_scores_with_its_gradients_in_as_many_parts_as_it_takes(
    num_rows, monkeypatch
):
    monkeypatch.setattr(module, "MAX_SCORES", 7 * 50)
    monkeypatch.setattr(module, "MAX_CACHED", 2 * 50)
    hidden, weight, target = drawn(num_rows)
    nll, is_best = linear_nll(hidden, weight, target)
    scores = hidden.double() @ weight.double().t()
    theirs = cross_entropy(scores, target, reduction="none")
    torch.testing.assert_close(nll.double(), theirs, rtol=1e-6, atol=1e-6)
    assert torch.equal(is_best, scores.argmax(-1) == target)
    factor = torch.linspace(-1, 2, num_rows)
    ours = torch.autograd.grad((nll * factor).sum(), (hidden, weight))
    expected = torch.autograd.grad((theirs * factor).sum(), (hidden, weight))
    for own, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


def test_a_target_that_is_all_but_impossible_has_its_true_loss():
    hidden, weight, _ = drawn(1)
    target = (hidden @ weight.t()).argmin(-1)
    nll, _ = linear_nll(hidden * 100, weight, target)
    torch.testing.assert_close(nll, cross_entropy(hidden * 100 @ weight.t(), target, reduction="none"))


def step(model, batch, *, asks_scores):
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = run_model(model, batch)
        if asks_scores:
            outputs.trained_logits_NV  # noqa: B018 - with scores at hand the loss is made of them
        loss = Sft()(outputs, batch)
    loss.sum.backward()
    return loss, {name: each.grad for name, each in model.named_parameters()}


def test_a_step_in_bf16_is_the_one_that_keeps_all_scores(model):
    ids = torch.randint(288, (60,), generator=torch.Generator().manual_seed(1)).tolist()
    (batch,) = pack([(Segment(ids=ids, weight=[0.5] * 30 + [1.0] * 30, name="a"),)], 60)
    (ours, own), (theirs, other) = (step(model, batch, asks_scores=asks) for asks in (False, True))
    torch.testing.assert_close(ours.sum, theirs.sum, rtol=1e-5, atol=0)
    assert ours.metrics == theirs.metrics
    for name, gradient in own.items():
        assert (gradient - other[name]).norm() < 0.01 * other[name].norm(), name


def test_a_head_that_does_more_than_multiply_is_left_to_itself(model):
    assert plain_head(model) is model.embedding.weight
    spec = model.head.spec
    model.head.spec = spec.model_copy(update={"softcap": 30.0})
    assert plain_head(model) is None
    model.head.spec = spec
    model.head.register_forward_hook(lambda *_: None)
    assert plain_head(model) is None
