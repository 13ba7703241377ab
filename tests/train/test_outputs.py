"""In half precision products have few sizes; what they give is that of the tokens alone."""

import pytest
import torch

from fakes_llama import tiny_llama
from mainspring.adapt.prefix import Prefix
from mainspring.adapt.prompt import Prompt
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.train import outputs
from mainspring.train.batch import Segment, pack
from mainspring.train.outputs import rows_for, run_model

LENGTHS = (61, 40, 33, 7)


def batch():
    segments = [
        Segment(
            ids=[(at * 7 + number) % 280 + 3 for at in range(length)],
            weight=[1.0] * length,
            name=f"s{number}",
        )
        for number, length in enumerate(LENGTHS)
    ]
    return pack([(each,) for each in segments], 512)[0]


def test_sizes_are_few_and_not_much_larger_than_what_was_asked_for():
    with torch.autocast("cpu", torch.bfloat16):
        found = [rows_for(number) for number in range(1, 8193)]
    assert all(number <= rows < number * (1 + 1 / 15) for number, rows in enumerate(found, 1))
    assert len({rows for rows in found if rows > 64}) <= 16 * 7
    assert rows_for(101) == 101  # in full precision nothing is put behind


@pytest.mark.parametrize("kind", [None, Prefix(num_virtual=3), Prompt(num_virtual=3)])
def test_rows_behind_the_tokens_change_neither_scores_nor_gradients(monkeypatch, kind):
    model = tiny_llama()
    if kind is not None:
        kind.apply(model, seed=0)
    told = []
    for least in (64, 10**9):
        monkeypatch.setattr(outputs, "LEAST_ROWS", least)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            said = run_model(model, batch())
            scores = said.trained_logits_NV
        assert len(said.hidden_TD) == sum(LENGTHS)
        said.trained_logp_N.sum().backward()
        told.append([scores, *(each.grad for each in model.parameters() if each.grad is not None)])
    for ours, plain in zip(*told, strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-2 * float(plain.detach().abs().max()), rtol=0)


@pytest.mark.parametrize("name", ["mamba2", "mixtral"])
def test_mixers_that_go_from_token_to_token_and_watched_routers_see_the_tokens_alone(name):
    torch.manual_seed(0)
    model = Model(family(name).tiny()).eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        said = run_model(model, batch(), watches_routers=name == "mixtral")
    assert said.hidden_TD.shape[0] == sum(LENGTHS)
    assert all(len(each.logits_TE) == sum(LENGTHS) for each in said.routed)
