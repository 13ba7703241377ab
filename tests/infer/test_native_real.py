"""The native step with SmolLM2: what rounding costs, and how much memory it takes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from fakes_native import CONFIG, in_chunks, sequence
from mainspring.infer.backends.native import Native
from mainspring.infer.request import NativeSettings
from mainspring.models.attend import PackedAttend
from mainspring.models.load import load
from mainspring.tokenizer.base import Tokenizer

pytestmark = pytest.mark.slow
LENGTH, NUM_SEGMENTS = 256, 6
TEXT = (
    "The water of a river runs downhill, and what it carries with it depends on how fast it runs. In the mountains "
    "where the bed is steep, it moves stones as large as heads; in the plain it drops first the gravel, then the sand. "
)


@pytest.fixture(scope="module")
def segments(smollm2_folder):
    """The model's own licence-free text: it continues a paragraph, by its torch form, so that nothing is fetched."""
    tokenizer = Tokenizer.load(smollm2_folder)
    model = load(smollm2_folder)
    backend = Native.of(model, CONFIG)
    generator = np.random.default_rng(0)
    found = []
    for number in range(NUM_SEGMENTS):
        ids, one = tokenizer.encode(TEXT)[: 20 + 5 * number], sequence(0, num_blocks=20)
        scores_V = in_chunks(backend, one, ids, [len(ids)])[-1]
        while len(ids) < LENGTH:
            chance_V = scores_V.double().softmax(0).numpy()
            ids.append(int(generator.choice(len(chance_V), p=chance_V / chance_V.sum())))
            scores_V = in_chunks(backend, one, ids[-1:], [1])[-1]
        found.append(ids)
    return model, found


def perplexity(scores_of, segments):
    losses = [cross_entropy(scores_of(ids)[:-1], torch.tensor(ids[1:])) for ids in segments]
    return float(torch.stack(losses).mean().exp())


def test_rounding_costs_little(segments):
    model, ids = segments

    def plain(ids):
        return model.logits(model(torch.tensor(ids), torch.arange(len(ids)), PackedAttend([len(ids)])))

    def native(**settings):
        backend = Native.of(model, CONFIG.model_copy(update={"native": NativeSettings(**settings)}))
        return perplexity(lambda ids: in_chunks(backend, sequence(0, num_blocks=20), ids, [len(ids)]), ids)

    with torch.inference_mode():
        wanted = perplexity(plain, ids)
    halves, in_bytes = native(), native(kv="int8")
    assert abs(halves / wanted - 1) < 0.01
    assert abs(in_bytes / halves - 1) < 0.003


def test_the_model_fits_into_little_memory(smollm2_folder):
    code = (
        "import json, os, psutil, torch\n"
        "from pathlib import Path\n"
        "from mainspring.infer.backends.native import Native\n"
        "from mainspring.infer.request import EngineConfig\n"
        f"backend = Native.load(Path({str(smollm2_folder)!r}), EngineConfig())\n"
        "print(json.dumps(psutil.Process().memory_info().rss))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert json.loads(said) < 480 * 2**20
