"""The LoRA step on the real model; the tiny one in test_sft.py covers the cases."""

import pytest
import torch
from transformers import LlamaForCausalLM

from mainspring.adapt import lora
from mainspring.models.load import load
from mainspring.train.batch import Segment, pack
from mainspring.train.objectives.sft import Sft
from mainspring.train.outputs import run_model
from oracle_llama import assert_same_gradients, fill_alike, peft_loss, with_peft


@pytest.mark.slow
def test_a_lora_step_on_the_real_model_equals_peft(smollm2_folder):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 40_000, (48,), generator=generator).tolist()
    segments = [
        Segment(ids=ids[:30], weight=[0] * 20 + [1] * 10, name="a"),
        Segment(ids=ids[30:], weight=[0] * 10 + [1] * 8, name="b"),
    ]
    model = load(smollm2_folder)
    oracle = LlamaForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32)
    peft_model = with_peft(oracle, rank=8, alpha=16)
    lora.add(model, lora.Lora(), "a")
    fill_alike(model, "a", peft_model, spread=0.02)
    theirs = peft_loss(peft_model, segments)
    theirs.backward()
    (batch,) = pack([(each,) for each in segments], 64)
    loss = Sft()(run_model(model, batch), batch)
    ours = loss.sum / batch.counts()["tokens"]
    ours.backward()
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-5, atol=0)
    assert_same_gradients(model, "a", peft_model)
