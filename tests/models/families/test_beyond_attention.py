"""Families with states, linear and sparse attention: long texts, borders of chunks and windows, learning."""

import pytest
import torch
from torch.nn import functional

from mainspring.errors import WeightsError
from mainspring.models.attend import BAND, PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.models.parts import delta, mamba
from mainspring.models.save import save
from oracle_transformers import class_of, more_inputs

pytestmark = pytest.mark.slow

STATEFUL = ["mamba2", "jamba", "qwen3_next"]
CHUNK = max(delta.CHUNK, mamba.CHUNK)


def lively(name, **published):
    """A tiny model with random weights, some of its published keys changed."""
    kind = family(name)
    torch.manual_seed(0)
    model = Model(kind.config({**kind.published(kind.tiny()), **published}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def random_ids(num_tokens):
    return torch.randint(3, 288, (num_tokens,), generator=torch.Generator().manual_seed(num_tokens))


def hidden(model, ids):
    return model(ids, torch.arange(len(ids)), PackedAttend([len(ids)]))


def assert_close(found, expected):
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


def assert_equals_transformers(model, folder, lengths):
    save(model, folder)
    theirs = class_of(folder).from_pretrained(folder, attn_implementation="eager").eval()
    for length in lengths:
        ids = random_ids(length)
        with torch.no_grad():
            expected = theirs(ids[None], **more_inputs(theirs, ids)).logits[0]
            assert_close(model.logits(hidden(model, ids)), expected)


@pytest.mark.parametrize("name", STATEFUL)
def test_texts_of_many_chunks_get_the_scores_of_transformers_own_class(name, tmp_path):
    assert_equals_transformers(lively(name), tmp_path, [CHUNK, 2 * CHUNK + 7])


@pytest.mark.parametrize("name", STATEFUL)
@pytest.mark.parametrize("steps", [[CHUNK - 1, 1, 1, 1], [CHUNK, 1, CHUNK, 2], [1, 1, CHUNK + 5, 1, 1, 9]])
def test_decoding_across_the_borders_of_chunks_equals_the_full_pass(name, steps):
    model, ids = lively(name), random_ids(2 * sum(steps))
    with torch.no_grad():
        full = [hidden(model, part) for part in ids.chunk(2)]
        cache = CachedAttend(num_segments=2)
        both = torch.stack(ids.chunk(2)).split(steps, dim=1)
        pieces = [model(part.flatten(), cache.positions(part.shape[1]), cache) for part in both]
    found = torch.cat([piece.unflatten(0, (2, -1)) for piece in pieces], dim=1)
    assert_close(found, torch.stack(full))


@pytest.mark.parametrize("name", STATEFUL)
def test_gradients_through_many_chunks_are_transformers(name, tmp_path):
    model, ids = lively(name), random_ids(CHUNK + 20)
    save(model, tmp_path)
    theirs = class_of(tmp_path).from_pretrained(tmp_path, attn_implementation="eager").eval()
    pull = torch.randn(len(ids), 288, generator=torch.Generator().manual_seed(1))
    (theirs(ids[None]).logits[0] * pull).mean().backward()
    (model.logits(hidden(model, ids)) * pull).mean().backward()
    expected = theirs.get_input_embeddings().weight.grad
    assert (model.embedding.weight.grad - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.parametrize("window", [4, [4, 16]])
def test_longformer_equals_transformers_below_within_and_above_its_windows(window, tmp_path):
    model = lively("longformer", attention_window=window)
    assert_equals_transformers(model, tmp_path, [1, 2, 3, 4, 5, 15, 16, 17, 33, 100])


def test_longformer_equals_transformers_where_bands_are_read(tmp_path):
    model = lively("longformer", attention_window=6, max_position_embeddings=3 * BAND + 2)
    assert_equals_transformers(model, tmp_path, [2 * BAND + 13, 3 * BAND])


@pytest.mark.parametrize("name", [*STATEFUL, "longformer"])
def test_a_new_model_learns_a_repeated_text(name):
    """From its own initialization, 20 steps: the loss falls far below that of a guess by frequency."""
    torch.manual_seed(0)
    model = Model(family(name).tiny())
    period = torch.randint(4, 288, (11,), generator=torch.Generator().manual_seed(5))
    ids = period.repeat(12)[:120]
    is_masked = torch.rand(120, generator=torch.Generator().manual_seed(6)) < 0.15
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        if model.config.is_causal:
            loss = functional.cross_entropy(model.logits(hidden(model, ids[:-1])), ids[1:])
        else:
            scores = model.logits(hidden(model, ids.masked_fill(is_masked, 3))[is_masked])
            loss = functional.cross_entropy(scores, ids[is_masked])
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 1.0 < losses[0], losses
    assert losses[-1] < 0.2 * losses[0], losses


@pytest.mark.parametrize("name", [*STATEFUL, "longformer"])
def test_the_engine_does_not_take_what_it_cannot_serve(name):
    config = family(name).tiny()
    assert config.is_served == config.is_causal == (name != "longformer")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mamba2", {"num_heads": 7}, "7 heads of 16 in 2 groups for an inner width of 128"),
        ("mamba2", {"n_groups": 3}, "8 heads of 16 in 3 groups"),
        ("mamba2", {"rms_norm": False}, "rms_norm False"),
        ("mamba2", {"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ("jamba", {"attn_layer_offset": 9}, "4 layers, all of them mamba"),
        ("jamba", {"sliding_window": 8}, "sliding_window 8"),
        ("jamba", {"num_experts_per_tok": 5}, "5 experts"),
        ("qwen3_next", {"layer_types": ["full_attention"]}, "layer_types"),
        ("qwen3_next", {"layer_types": None, "full_attention_interval": 1}, "layer_types"),
        ("qwen3_next", {"linear_num_value_heads": 3}, "3 linear_num_value_heads and 2"),
        ("qwen3_next", {"attention_bias": True}, "attention_bias True"),
        ("longformer", {"attention_window": 7}, "attention_window 7"),
        ("longformer", {"attention_window": [4]}, r"attention_window \[4\] for 2 layers"),
        ("longformer", {"pad_token_id": 0}, "pad_token_id 0"),
    ],
)
def test_what_is_not_built_is_refused_by_its_key(name, changes, message):
    kind = family(name)
    with pytest.raises(WeightsError, match=message):
        kind.config({**kind.published(kind.tiny()), **changes})


def test_an_infinite_time_step_is_read_as_transformers_writes_it():
    kind = family("mamba2")
    for infinite in (float("inf"), {"__float__": "Infinity"}):
        config = kind.config({**kind.published(kind.tiny()), "time_step_limit": [0.0, infinite]})
        assert config.blocks[0].mixer.dt_max == float("inf")
        assert kind.config(kind.published(config)) == config


def test_a_jamba_without_experts_and_one_with_a_single_layer_of_attention_survive_being_published():
    kind = family("jamba")
    for changes in ({"num_experts": 1}, {"attn_layer_period": 4, "attn_layer_offset": 2}):
        config = kind.config({**kind.published(kind.tiny()), **changes})
        assert kind.config(kind.published(config)) == config
