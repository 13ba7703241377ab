"""What a draft model brings: a part of engine.py.

A pair of models of one tokenizer, one several times as large as the other, is made of the one model at hand. The
larger one is that model with its layers four times more, whose outputs are set to zero: five times the work for the
same answers. The smaller one is the model in 4 bits where the larger one has 8, so its guesses are wrong as often as
those of a good draft. A draft as large as the engine's model cannot pay; it must be left alone.
"""

import statistics
from pathlib import Path

import torch

from engine_texts import question
from mainspring.infer.backends.native import Native
from mainspring.infer.drafts import DraftModel
from mainspring.infer.request import EngineConfig, NativeSettings
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.tokenizer.base import Tokenizer
from replay import run
from report import row

TIMES = 5
GAIN, NO_LOSS = 1.5, 0.95
OUTPUTS = ("mixer.o.weight", "ffn.down.weight")


def drafts(folder: Path, tokenizer: Tokenizer, rounds: int) -> list[dict]:
    config = EngineConfig(num_blocks=1024)
    model = load(folder)
    four_bits = {"native": NativeSettings(bits=4)}
    small = Native.of(model, DraftModel.sizes(config).model_copy(update=four_bits))
    large, same = Native.of(deepened(model, TIMES), config), Native.of(model, config)
    del model
    rows = []
    settings = ((large, TIMES, 1, GAIN), (large, TIMES, 8, NO_LOSS), (same, 1, 1, NO_LOSS))
    for backend, work, at_once, floor in settings:
        some = config.model_copy(update={"max_running": at_once})
        on, off = speeds(backend, small, some, tokenizer, rounds)
        place = "alone" if at_once == 1 else f"{at_once} at once"
        what = f"native, a draft in 4 bits for a model of {work} times the work, {place}"
        rows.append(row(what, "tokens/s", on, {"no draft": off}, floor))
    return rows


def deepened(model: Model, times: int) -> Model:
    """The same function from so many times the layers: the further ones add nothing."""
    blocks = model.config.blocks
    deep = Model(model.config.model_copy(update={"blocks": blocks * times}))
    own, state = model.state_dict(), deep.state_dict()
    for name, weight in state.items():
        top, _, rest = name.partition(".")
        index, _, part = rest.partition(".")
        is_further = top == "blocks" and int(index) >= len(blocks)
        source = f"blocks.{int(index) % len(blocks)}.{part}" if is_further else name
        weight.copy_(torch.zeros_like(weight) if is_further and part in OUTPUTS else own[source])
    deep.load_state_dict(state)
    return deep


def speeds(
    backend: Native, draft: Native, config: EngineConfig, tokenizer: Tokenizer, rounds: int
) -> tuple[float, float]:
    """Median tokens a second with the draft and without it; guesses from the text are made in both."""
    found: dict[bool, list[float]] = {True: [], False: []}
    run(backend, config, [question(0, tokenizer, 0.0)], 0)  # warms up
    for number in range(rounds):
        wanted, replies = [question(8 * number + index, tokenizer, 0.0) for index in range(8)], []
        for is_on in (True, False) if number % 2 else (False, True):
            passed = run(backend, config, wanted, 0, draft=draft if is_on else None)
            found[is_on].append(passed.tokens_per_s)
            replies.append(passed.replies)
        if replies[0] != replies[1]:
            raise SystemExit("the replies with and without a draft differ, which the exact mode rules out")
    return statistics.median(found[True]), statistics.median(found[False])
