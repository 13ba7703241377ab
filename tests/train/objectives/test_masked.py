import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import ConfigError
from mainspring.models.families import bert
from mainspring.models.init import fresh
from mainspring.train.batch import NO_TARGET, Segment, pack
from mainspring.train.objectives.masked import MaskedDiffusion, MaskedLm
from mainspring.train.objectives.spans import SpanCorruption
from mainspring.train.outputs import run_model

MASK, SPECIAL = 3, (0, 1, 2)
LENGTHS = st.integers(2, 60)


def text(length, seed=0):
    draw = random.Random(seed)
    ids = [1, *(draw.randrange(10, 90) for _ in range(length)), 2]
    return Segment(ids=ids, weight=[1.0] * len(ids), name="text")


def masked(kind=MaskedLm, **values):
    values |= {"vocab_size": 90} if kind is MaskedLm else {}
    return kind(mask_id=MASK, kept_ids=SPECIAL, **values)


@given(LENGTHS, st.integers(0, 1000))
def test_what_is_hidden_is_said_and_nothing_else(length, seed):
    before = text(length, seed)
    for objective in (masked(), masked(MaskedDiffusion)):
        after = objective.view(before, random.Random(seed))
        for at, (old, new) in enumerate(zip(before.ids, after.ids, strict=True)):
            assert (after.weight[at] > 0) == (after.targets[at] == old) == (after.targets[at] != NO_TARGET)
            assert old == new or after.weight[at] > 0
            assert old not in SPECIAL or after.weight[at] == 0


def test_fifteen_percent_are_said_and_eight_of_ten_of_them_hidden():
    after = masked().view(text(20_000), random.Random(0))
    said = [at for at, weight in enumerate(after.weight) if weight]
    assert len(said) == 3000
    hidden = sum(after.ids[at] == MASK for at in said)
    kept = sum(after.ids[at] == after.targets[at] for at in said)
    assert hidden / 3000 == pytest.approx(0.8, abs=0.02)
    assert kept / 3000 == pytest.approx(0.1, abs=0.02)


def test_the_same_chance_hides_the_same_tokens():
    same, again, other = (masked().view(text(40), random.Random(seed)) for seed in (7, 7, 8))
    assert same == again != other


def model(kind):
    config = bert.tiny()
    published = {**bert.published(config), "architectures": ["BertForMaskedLM"]}
    return fresh(bert.config(published), seed=0).double()


@pytest.mark.parametrize("kind", [MaskedLm, MaskedDiffusion])
def test_the_loss_is_the_papers_formula(kind):
    net = model(kind)
    views = [(masked(kind).view(text(9 + at, at), random.Random(at)),) for at in range(3)]
    (batch,) = pack(views, 100)
    loss = masked(kind)(run_model(net, batch), batch)
    expected = 0.0
    for (segment,) in views:
        (alone,) = pack([(segment,)], 100)
        logits = net.logits(run_model(net, alone).hidden_TD)
        for at, weight in enumerate(segment.weight):
            if weight:
                scores = logits[at]
                expected = expected - weight * (scores[segment.targets[at]] - scores.exp().sum().log())
    assert float(loss.sum) == pytest.approx(float(expected), rel=1e-9)
    assert batch.counts()[loss.count_key] == (
        batch.counts()["tokens"] if kind is MaskedLm else len(batch.ids)
    )


def test_the_mean_over_all_shares_is_the_number_of_ids():
    weights = [sum(masked(MaskedDiffusion).view(text(40), random.Random(at)).weight) for at in range(4000)]
    assert sum(weights) / len(weights) == pytest.approx(40, rel=0.06)


class Special:
    vocab_size = 90

    def __init__(self, *names):
        self.special = {name: 80 + at for at, name in enumerate(names)}


def test_ids_come_from_the_tokenizer_or_are_asked_for():
    fitted = MaskedLm().fitted(Special("[CLS]", "[MASK]"))
    assert (fitted.mask_id, fitted.kept_ids, fitted.vocab_size) == (81, (80, 81), 90)
    with pytest.raises(ConfigError, match=r"Set `objective.mask_id`"):
        MaskedLm().fitted(Special("<s>"))
    with pytest.raises(ConfigError, match=r"no sentinels <extra_id_0>"):
        SpanCorruption().fitted(Special("<s>"))


@given(LENGTHS, st.integers(0, 1000))
def test_source_and_answer_together_are_the_text(length, seed):
    sentinels = tuple(range(100, 120))
    before = text(length, seed)
    after = SpanCorruption(sentinels=sentinels).view(before, random.Random(seed))
    said, gaps, current = list(after.ids[1:]), {}, None
    for token in said:
        if token in sentinels:
            current = gaps.setdefault(token, [])
        else:
            current.append(token)
    restored = [id_ for token in after.source for id_ in (gaps[token] if token in sentinels else [token])]
    assert restored == list(before.ids)
    assert gaps[max(gaps)] == []
    assert all(gaps[token] for token in after.source if token in sentinels)


def test_a_text_loses_the_share_of_tokens_that_was_asked_for():
    after = SpanCorruption(sentinels=tuple(range(100, 400))).view(text(998), random.Random(0))
    num_gaps = sum(token >= 100 for token in after.source)
    assert num_gaps == 50
    assert sum(token < 100 for token in after.ids[1:]) == 150
    assert torch.tensor(after.weight).sum() == len(after.ids) - 1
