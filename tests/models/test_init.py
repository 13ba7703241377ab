import pytest
import torch

from mainspring.errors import ConfigError
from mainspring.models.attend import PackedAttend
from mainspring.models.families import bert, gpt2, llama
from mainspring.models.init import fresh
from mainspring.models.rehead import with_head


def test_a_fresh_model_is_the_same_for_the_same_seed_and_knows_nothing():
    one, same, other = (fresh(llama.tiny(), seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    ids = torch.arange(20)
    logits = one.logits(one(ids, ids, PackedAttend([20])))
    loss = torch.nn.functional.cross_entropy(logits, ids.flip(0))
    assert float(loss.detach()) == pytest.approx(torch.tensor(float(logits.shape[1])).log().item(), rel=0.02)


def test_learned_positions_begin_as_small_as_the_embedding():
    model = fresh(gpt2.tiny(), 0)
    assert float(model.positions.weight.std().detach()) == pytest.approx(0.02, rel=0.1)


def test_another_head_keeps_the_body_and_its_weights():
    model = fresh(llama.tiny(), 0)
    scorer = with_head(model, "classify", num_labels=1, pooling="last")
    assert scorer.embedding.weight is model.embedding.weight
    ids = torch.arange(9)
    assert scorer.logits(scorer(ids, ids, PackedAttend([9]))).shape == (9, 1)
    tagger = with_head(fresh(bert.tiny(), 0), "classify_tokens", num_labels=4)
    assert tagger.config.head.num_labels == 4
    assert with_head(model, "none", pooling="mean").head is None
    with pytest.raises(ConfigError, match="family gpt2 has no head 'classify'; it has lm, none"):
        with_head(fresh(gpt2.tiny(), 0), "classify", num_labels=2)
