"""Every head of every family: saved, read by transformers' own class, the same scores."""

import pytest
import torch

from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import FAMILIES, family
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.pool import pool
from mainspring.models.save import save
from oracle_transformers import class_of, more_inputs

pytestmark = pytest.mark.slow

HEADS = [
    (name, architecture)
    for name in FAMILIES
    for architecture in family(name).ARCHITECTURES
    if architecture not in ("T5Model", "BartModel")
]


def with_head(name, architecture):
    """A tiny model of a family with the head that a class name tells of."""
    kind = family(name)
    published = {**kind.published(kind.tiny()), "architectures": [architecture]}
    if "Classification" in architecture:
        published["id2label"] = {str(number): f"LABEL_{number}" for number in range(5)}
    torch.manual_seed(1)
    model = Model(kind.config(published))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize(("name", "architecture"), HEADS)
def test_a_head_gives_the_scores_of_transformers_own_class(name, architecture, tmp_path):
    model = with_head(name, architecture)
    save(model, tmp_path)
    assert load(tmp_path).config == model.config
    theirs = class_of(tmp_path).from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert type(theirs).__name__ == architecture
    ids = torch.randint(3, 288, (11,), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        source = ids if model.config.encoder else None
        if source is None:
            said = theirs(ids[None], **more_inputs(theirs, ids))
        else:
            said = theirs(input_ids=ids[None], decoder_input_ids=ids[None])
        source_SD = None if source is None else model.encode(ids, torch.arange(11), PackedAttend([11]))
        hidden_TD = model(ids, torch.arange(11), PackedAttend([11], [11]), source_SD)
        expected = said.logits[0] if "logits" in said else said.last_hidden_state[0]
        head = model.config.head
        if head is not None and head.pooling is not None:
            found = model.logits(pool(hidden_TD, [11], head.pooling))[0]
        else:
            found = hidden_TD if head is None else model.logits(hidden_TD)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


def test_t5_with_gated_parts_and_a_head_of_its_own_reads_back(tmp_path):
    kind = family("t5")
    published = {
        **kind.published(kind.tiny()),
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    }
    model = Model(kind.config(published))
    assert model.head.spec.scale == 1.0
    assert model.blocks[0].ffn.gate.weight.shape == (96, 64)
    save(model, tmp_path)
    back = load(tmp_path)
    assert back.config == model.config
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
def test_pooling_makes_one_vector_of_every_segment(pooling):
    hidden_TD = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    expected = [
        {"mean": part.mean(0), "cls": part[0], "max": part.max(0).values, "last": part[-1]}[pooling]
        for part in hidden_TD.split([2, 1, 6])
    ]
    torch.testing.assert_close(pool(hidden_TD, [2, 1, 6], pooling), torch.stack(expected))
