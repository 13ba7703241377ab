"""Generation with the plain cache, beside transformers' own."""

import pytest
import torch

from mainspring.models.families.base import FAMILIES, family
from mainspring.models.generate import generate
from mainspring.models.model import Model
from mainspring.models.save import save
from oracle_transformers import class_of

pytestmark = pytest.mark.slow

NAMES = [name for name in FAMILIES if (head := family(name).tiny().head) and head.kind == "lm"]
PROMPTS = [[5, 77, 120, 9, 200], [3], [250, 14, 33, 60, 61, 62, 63, 64, 65, 66, 67, 68]]


def lively(name, seed=5):
    torch.manual_seed(seed)
    model = Model(family(name).tiny())
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "norm" not in parameter_name:
                parameter.normal_(std=0.2 if "embedding" in parameter_name else 0.5)
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_greedy_ids_equal_those_of_transformers(name, tmp_path):
    model = lively(name)
    save(model, tmp_path)
    theirs = class_of(tmp_path).from_pretrained(tmp_path, attn_implementation="eager").eval()
    found = [continued(model, prompt) for prompt in PROMPTS]
    assert found == [continued_by(theirs, prompt) for prompt in PROMPTS]
    assert len({tuple(ids) for ids in found}) > 1


def continued(model, prompt):
    if model.config.encoder is None:
        return list(generate(model, prompt, 12))
    return list(generate(model, [2], 12, source=prompt))


@torch.no_grad()
def continued_by(theirs, prompt):
    """The likeliest ids of transformers' whole passes, one after another."""
    is_pair = theirs.config.is_encoder_decoder
    said = [2] if is_pair else list(prompt)
    for _ in range(12):
        ids = torch.tensor([said])
        out = theirs(input_ids=torch.tensor([prompt]), decoder_input_ids=ids) if is_pair else theirs(ids)
        said.append(int(out.logits[0, -1].argmax()))
    return said[-12:]


def test_generation_ends_at_an_end_id_and_at_the_context():
    model = lively("gpt2")
    said = list(generate(model, PROMPTS[0], 12))
    assert list(generate(model, PROMPTS[0], 12, end_ids=[said[4]])) == said[: said.index(said[4])]
    assert len(list(generate(model, PROMPTS[0], 10_000))) == model.config.context - 5
