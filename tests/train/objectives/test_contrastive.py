import math

import pytest
import torch

from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.models.families import bert
from mainspring.models.init import fresh
from mainspring.models.rehead import with_head
from mainspring.train.batch import Segment, pack
from mainspring.train.config import TrainConfig
from mainspring.train.learner import Learner
from mainspring.train.objectives.classify import Classification
from mainspring.train.objectives.contrastive import Contrastive, Rerank, info_nce, listwise, margins
from mainspring.train.optim import build_optimizer
from mainspring.train.outputs import run_model
from mainspring.train.parallel import Runner
from mainspring.train.ranks import Ranks


def segment(seed, role="", label=None, length=8):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 60, (length,), generator=generator).tolist()
    return Segment(ids=ids, weight=[0.0] * length, name=f"s{seed}", role=role, label=label)


def triples(count=4):
    return [
        (
            segment(10 * at, "query"),
            segment(10 * at + 1, "positive", length=6),
            segment(10 * at + 2, "negative"),
        )
        for at in range(count)
    ]


@pytest.fixture
def encoder():
    return fresh(bert.tiny(), seed=0).double()


def classifier(num_labels):
    return with_head(fresh(bert.tiny(), seed=0), "classify", num_labels=num_labels).double()


def learner(model, objective, micro_batch_tokens):
    parameters = dict(model.named_parameters())
    values = {"plan": {"micro_batch_tokens": micro_batch_tokens, "dtype": "fp64"}}
    config = build(TrainConfig, values)
    return Learner(
        runner=Runner(model, config.plan, Ranks()), objective=objective, penalties=(), annotators=(), config=config,
        parameters=parameters, optimizer=build_optimizer(parameters, config.optim),
    )  # fmt: skip


def gradients(model, objective, items, micro_batch_tokens):
    model.zero_grad()
    one = learner(model, objective, micro_batch_tokens)
    batches = one.batches(items)
    sums = one.backward(batches, one.ranks.total(batch.counts() for batch in batches))
    return len(batches), sums, [each.grad.clone() for each in model.parameters() if each.grad is not None]


@pytest.mark.parametrize("objective", [Contrastive(), Contrastive(symmetric=True, widths=(4, 16))])
def test_negatives_of_other_batches_count_as_those_of_the_same_one(encoder, objective):
    one, loss, expected = gradients(encoder, objective, triples(), 1000)
    many, accumulated, found = gradients(encoder, objective, triples(), 24)
    assert (one, many) == (1, 4)
    assert accumulated["loss"] == pytest.approx(loss["loss"], rel=1e-12)
    assert accumulated["accuracy"] == loss["accuracy"]
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


def test_the_loss_is_the_papers_formula(encoder):
    items = triples()
    (batch,) = pack(items, 1000, couples=True)
    loss = Contrastive(temperature=0.1)(run_model(encoder, batch), batch)
    vectors = []
    for item in items:
        for each in item:
            (alone,) = pack([(each,)], 100)
            vector = run_model(encoder, alone).hidden_TD.mean(0)
            vectors.append(vector / vector.norm())
    passages = [vector for at, vector in enumerate(vectors) if at % 3]
    expected = 0.0
    for number in range(len(items)):
        scores = [float(vectors[3 * number] @ passage) / 0.1 for passage in passages]
        expected -= scores[2 * number] - math.log(sum(math.exp(score) for score in scores))
    assert float(loss.sum.detach()) == pytest.approx(expected, rel=1e-9)
    assert batch.counts()[loss.count_key] == 4


def test_a_symmetric_loss_looks_from_passages_too():
    scores = torch.randn(3, 3, dtype=torch.float64)
    both = info_nce(scores, torch.arange(3), symmetric=True)
    there, back = (info_nce(each, torch.arange(3), symmetric=False) for each in (scores, scores.T))
    assert float(both) == pytest.approx(float(there + back) / 2, rel=1e-12)


def test_losses_of_rerankers_are_their_formulas():
    scores, labels = torch.randn(4, dtype=torch.float64), torch.tensor([1.0, 0, 1, 0], dtype=torch.float64)
    chances = [
        math.exp(score) / sum(math.exp(other) for other in scores.tolist()) for score in scores.tolist()
    ]
    assert float(listwise(scores, labels)) == pytest.approx(
        -(math.log(chances[0]) + math.log(chances[2])) / 2, rel=1e-9
    )
    ahead = [(scores[0] - scores[at]) - (labels[0] - labels[at]) for at in (1, 2, 3)]
    assert float(margins(scores, labels)) == pytest.approx(
        sum(float(each) ** 2 for each in ahead) / 3, rel=1e-9
    )


@pytest.mark.parametrize("loss", ["listwise", "pointwise", "margin"])
def test_a_reranker_is_judged_within_each_query(loss):
    model = classifier(1)
    items = [
        tuple(segment(10 * at + place, "passage", label=float(place == 1)) for place in range(3))
        for at in range(3)
    ]
    one = gradients(model, Rerank(loss=loss), items, 1000)
    many = gradients(model, Rerank(loss=loss), items, 24)
    assert (one[0], many[0]) == (1, 3)
    assert many[1]["loss"] == pytest.approx(one[1]["loss"], rel=1e-12)
    for got, wanted in zip(many[2], one[2], strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("num_labels", [1, 3])
def test_labels_of_texts_are_torchs_losses(num_labels):
    model = classifier(num_labels)
    items = [(segment(at, label=float(at % num_labels) if num_labels > 1 else at / 2),) for at in range(5)]
    (batch,) = pack(items, 1000)
    loss = Classification()(run_model(model, batch), batch)
    scores = []
    for item in items:
        (alone,) = pack([item], 100)
        scores.append(model.logits(run_model(model, alone).hidden_TD[:1])[0])
    labels = torch.tensor([item[0].label for item in items], dtype=torch.float64)
    if num_labels == 1:
        expected = torch.nn.functional.mse_loss(torch.stack(scores)[:, 0], labels, reduction="sum")
    else:
        expected = torch.nn.functional.cross_entropy(torch.stack(scores), labels.long(), reduction="sum")
    assert float(loss.sum.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)


def test_a_missing_label_and_a_missing_head_are_named(encoder):
    (batch,) = pack([(segment(1),)], 100)
    with pytest.raises(ConfigError, match="s1 has no label to learn"):
        Classification()(run_model(classifier(2), batch), batch)
    with pytest.raises(ConfigError, match=r"Set `head.kind` to classify"):
        Classification()(run_model(encoder, batch), batch)
