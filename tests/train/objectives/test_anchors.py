"""Penalties against their papers' formulas in float64, and in the loop."""

import pytest
import torch
from safetensors.torch import save_file

from fakes_llama import tiny_llama
from fakes_objectives import StandIn, assert_same, one_batch, segment
from mainspring.adapt import lora
from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.train.annotate import find_annotators
from mainspring.train.config import TrainConfig
from mainspring.train.fisher import Anchor, FisherConfig, estimate, load_anchor
from mainspring.train.learner import Learner
from mainspring.train.loop import train
from mainspring.train.objectives.anchors import Kl, ZLoss
from mainspring.train.objectives.ewc import Ewc
from mainspring.train.objectives.sft import Sft
from mainspring.train.optim import build_optimizer
from mainspring.train.outputs import run_model
from mainspring.train.parallel import Runner
from mainspring.train.ranks import Ranks

VOCAB = 288


class Items:
    fingerprint = "given"

    def __init__(self, count, vocab=VOCAB):
        self.items, self.num_items = [(segment(at, vocab=vocab),) for at in range(count)], count

    def item(self, index):
        return self.items[index]


@pytest.mark.parametrize("over", ["full", "k3"])
def test_kl_is_summed_over_the_vocabulary_or_read_off_the_tokens(over):
    batch = one_batch([(segment(at, extras=("reference_logp",)),) for at in range(3)])
    reference_NV = torch.sin(torch.arange(len(batch.trained()) * 11, dtype=torch.float64)).unflatten(
        0, (-1, 11)
    )
    batch = batch.with_extra("reference_logits", reference_NV)
    outputs = StandIn(batch)
    found = Kl(over=over)(outputs, batch)
    at = batch.trained()
    p = outputs.hidden_TD[at].softmax(-1)
    if over == "full":
        expected = (p * torch.log(p / reference_NV.softmax(-1))).sum()
    else:
        said = p.gather(1, batch.target[at].unsqueeze(1)).squeeze(1)
        ratio = torch.exp(batch.extras["reference_logp"][at]) / said
        expected = (ratio - torch.log(ratio) - 1).sum()
    assert found.count_key == "tokens"
    assert_same(found.sum, expected, outputs.hidden_TD)


def test_z_loss_is_the_square_of_log_z():
    batch = one_batch([(segment(at),) for at in range(3)])
    outputs = StandIn(batch)
    z = outputs.hidden_TD[batch.trained()].exp().sum(-1)
    assert_same(ZLoss()(outputs, batch).sum, (torch.log(z) ** 2).sum(), outputs.hidden_TD)


def learner(model, penalties):
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    config = build(TrainConfig, {"plan": {"dtype": "fp64"}})
    needs = [need for each in penalties if isinstance(each, Kl) for need in each.needs]
    runner = Runner(model, config.plan, Ranks())
    return Learner(
        runner=runner, objective=Sft(), penalties=penalties, annotators=find_annotators(needs, runner, ()),
        parameters=parameters, config=config, optimizer=build_optimizer(parameters, config.optim),
    )  # fmt: skip


def test_penalties_are_added_with_their_coefficients():
    model = tiny_llama().double()
    lora.add(model, lora.Lora(), "a")
    torch.nn.init.normal_(lora.pairs(model, "a")["blocks.0.mixer.q"].b_OR, std=0.3)
    penalties = [Kl(coefficient=0.3), ZLoss(coefficient=0.01)]
    one = learner(model, penalties)
    batches = one.batches([Items(2).item(at) for at in range(2)])
    sums = one.backward(batches, one.ranks.total(each.counts() for each in batches))
    outputs = one.runner.run(next(one.late(batches)))
    tokens = batches[0].counts()["tokens"]
    expected = Sft()(outputs, outputs.batch).sum / tokens
    for each in penalties:
        part = each.coefficient * float(each(outputs, outputs.batch).sum.detach()) / tokens
        assert part > 0
        assert sums[each.kind] == pytest.approx(part, rel=1e-12)
        expected = expected + part
    assert sums["loss"] == pytest.approx(float(expected.detach()), rel=1e-12)


def anchor_of(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = {name: each.detach().clone() for name, each in model.named_parameters()}
    fisher = {name: torch.rand(each.shape, generator=generator) for name, each in weights.items()}
    return Anchor(fisher=fisher, weights=weights)


def test_ewc_weighs_how_far_weights_have_moved(tmp_path):
    model = tiny_llama()
    anchor = anchor_of(model)
    anchor.save(tmp_path / "anchor.safetensors")
    model = model.double()
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.01 * torch.randn(each.shape, dtype=each.dtype))
    penalty = Ewc(anchor=tmp_path / "anchor.safetensors")
    parameters = dict(model.named_parameters())
    expected = sum(
        0.5
        * float((anchor.fisher[name].double() * (each.detach() - anchor.weights[name].double()) ** 2).sum())
        for name, each in parameters.items()
    )
    found = penalty.of_weights(parameters)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-12)
    name = "blocks.0.mixer.q.weight"
    (gradient,) = torch.autograd.grad(found, parameters[name])
    moved = parameters[name].detach() - anchor.weights[name].double()
    torch.testing.assert_close(gradient, anchor.fisher[name].double() * moved, rtol=1e-12, atol=0)


def test_ewc_keeps_the_weights_where_they_were(tmp_path):
    far = {}
    for penalized in (False, True):
        model = tiny_llama()
        anchor = anchor_of(model)
        anchor.save(tmp_path / "anchor.safetensors")
        penalties = [Ewc(coefficient=50.0, anchor=tmp_path / "anchor.safetensors")] if penalized else []
        values = {"steps": 10, "optim": {"lr": 3e-3}, "plan": {"threads": 1}}
        train(
            model, Items(4), Sft(), build(TrainConfig, values), tmp_path / str(penalized), penalties=penalties
        )
        parameters = model.named_parameters()
        far[penalized] = sum(
            float((each.detach() - anchor.weights[name]).norm()) for name, each in parameters
        )
    assert far[True] < 0.7 * far[False]


def test_files_of_something_else_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="is no file of weights"):
        load_anchor(tmp_path / "missing.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match="does not hold weights"):
        load_anchor(tmp_path / "other.safetensors")
    model = tiny_llama()
    anchor_of(model).save(tmp_path / "anchor.safetensors")
    with pytest.raises(ConfigError, match="none of which trains"):
        Ewc(anchor=tmp_path / "anchor.safetensors").of_weights({"x": torch.nn.Parameter(torch.zeros(1))})
    other = {"final_norm.weight": torch.nn.Parameter(torch.zeros(3))}
    with pytest.raises(ConfigError, match="of another model"):
        Ewc(anchor=tmp_path / "anchor.safetensors").of_weights(other)


def only(model, name):
    model.requires_grad_(False)
    return dict(model.named_parameters())[name].requires_grad_()


def test_the_empirical_information_is_the_mean_square_of_gradients():
    model = tiny_llama().double()
    weight, source = only(model, "final_norm.weight"), Items(3)
    found = estimate(model, source, FisherConfig(items=3, labels="given"))
    expected = torch.zeros_like(weight)
    for (each,) in source.items:
        batch = one_batch([(each,)])
        outputs = run_model(model, batch)
        logp = outputs.logits(batch.trained()).log_softmax(-1)
        said = logp.gather(1, batch.target[batch.trained()].unsqueeze(1)).sum()
        expected += torch.autograd.grad(said, weight)[0] ** 2 / 3
    torch.testing.assert_close(found.fisher["final_norm.weight"], expected, rtol=1e-12, atol=1e-15)
    assert torch.equal(found.weights["final_norm.weight"], weight)


@pytest.mark.slow
def test_drawn_labels_tend_to_the_information_that_all_labels_have():
    model = tiny_llama().double()
    weight, source = only(model, "final_norm.weight"), Items(1)
    source.items = [(segment(0, vocab=VOCAB, answer=1),)]
    batch = one_batch(source.items)
    outputs = run_model(model, batch)
    logp = outputs.logits(batch.trained())[0].log_softmax(-1)
    exact = torch.zeros_like(weight)
    for each in logp:
        (gradient,) = torch.autograd.grad(each, weight, retain_graph=True)
        exact += float(each.detach().exp()) * gradient**2
    drawn = [estimate(model, source, FisherConfig(seed=at)).fisher["final_norm.weight"] for at in range(400)]
    mean = torch.stack(drawn).mean(0)
    assert float((mean - exact).norm() / exact.norm()) < 0.2
    assert float((drawn[0] - exact).norm() / exact.norm()) > 0.2


def test_an_anchor_is_read_as_it_was_written(tmp_path):
    anchor = estimate(tiny_llama(), Items(3), FisherConfig(items=2))
    anchor.save(tmp_path / "anchor.safetensors")
    again = load_anchor(tmp_path / "anchor.safetensors")
    for name, each in anchor.fisher.items():
        assert torch.equal(again.fisher[name], each)
        assert torch.equal(again.weights[name], anchor.weights[name])


def test_a_run_is_told_from_another_by_what_is_in_its_anchor_and_not_by_where_it_lies(tmp_path):
    anchor = {"w": torch.ones(2)}
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, scale in zip(paths, (1.0, 1.0, 2.0), strict=True):
        Anchor(fisher=anchor, weights={"w": scale * anchor["w"]}).save(path)
    first, moved, other = (Ewc(anchor=path).fingerprint() for path in paths)
    assert first == moved != other
    assert Ewc(anchor=paths[0], coefficient=1.0).fingerprint() != first
    with pytest.raises(ConfigError, match="cannot be read"):
        Ewc(anchor=tmp_path / "none").fingerprint()
