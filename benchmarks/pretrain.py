"""Pre-training throughput: our trainer, transformers' Trainer and a plain loop, in turns, on the same tokens.

python benchmarks/pretrain.py [--quick] [--json] [--threads N] [--runs N] [--processor-time]

The model is a Llama of 12 layers, width 384 and 8,192 tokens (24.4M parameters, the embedding is the head), the
step 16 rows of 256 random ids, all in one batch, AdamW, gradients clipped to norm 1. Every contender trains
NUM_STEPS steps a run, the runs take turns, the medians are compared; start-up, the first step and saving are not
counted. Each opponent has a fused AdamW and the better of fp32 and bf16 autocast, which is found before, by one run
each.

Utilization counts 6 operations a weight and token and the causal half of attention's products (arXiv:2204.02311,
appendix B), against the fastest product of square matrices that torch makes here.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import clock
import plain
from mainspring.config import build
from mainspring.models.init import fresh
from mainspring.models.load import understand
from mainspring.models.model import Model
from mainspring.train.batch import Item, Segment
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import CausalLm
from report import row, show

SIZES = plain.Sizes(layers=12, width=384, heads=6, hidden=1024, vocabulary=8192, context=256)
BATCH_SIZE, NUM_ROWS = 16, 512
NUM_RUNS, NUM_STEPS = 5, 3
NUM_RUNS_QUICK, NUM_STEPS_QUICK = 1, 2
LR = 1e-3
FLOOR = 1.2

Run = Callable[[], list[float]]
"""Trains one step more than are counted; the time at the end of every step."""


def published() -> dict:
    """config.json of the model."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": SIZES.width,
        "intermediate_size": SIZES.hidden, "num_hidden_layers": SIZES.layers, "num_attention_heads": SIZES.heads,
        "num_key_value_heads": SIZES.heads, "vocab_size": SIZES.vocabulary, "rms_norm_eps": 1e-5,
        "max_position_embeddings": SIZES.context, "rope_theta": 10000.0, "tie_word_embeddings": True,
        "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip


class Enough(Exception):  # noqa: N818 - not an error
    """Ends a run of ours before its last step, which would be saved."""


class FixedRows:
    """Rows of ids as items of one segment each."""

    def __init__(self, ids: np.ndarray) -> None:
        self._ids, self.num_items, self.fingerprint = ids, len(ids), "random rows"

    def item(self, index: int) -> Item:
        return (
            Segment(ids=self._ids[index].tolist(), weight=[1.0] * self._ids.shape[1], name=f"row {index}"),
        )


def ours(model: Model, ids: np.ndarray, num_steps: int, **plan: object) -> list[float]:
    """The one loop, with its metrics on disk."""
    config = build(TrainConfig, {
        "steps": num_steps + 1, "items_per_step": BATCH_SIZE,
        "save_every_steps": num_steps + 1, "report_every_steps": num_steps + 1,
        "optim": {"kind": "adamw", "lr": LR, "weight_decay": 0.1, "beta2": 0.95},
        "plan": {
            "dtype": "bf16", "micro_batch_tokens": BATCH_SIZE * SIZES.context,
            "threads": torch.get_num_threads(), **plan,
        },
    })  # fmt: skip
    stamps: list[float] = []

    def stamp(_: object) -> None:
        stamps.append(clock.now())
        if len(stamps) == num_steps:
            raise Enough

    with tempfile.TemporaryDirectory() as folder:
        try:
            train(model, FixedRows(ids), CausalLm(), config, Path(folder), on_step=stamp)
        except Enough:
            return stamps
    raise AssertionError("the run ended before its steps")


def transformers_trainer(model, ids: np.ndarray, num_steps: int, **settings: object) -> list[float]:  # noqa: ANN001
    """transformers' Trainer as its documentation has it, without reports and saving."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    stamps: list[float] = []

    class Stamp(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs) -> None:  # noqa: ANN001, ANN003
            stamps.append(clock.now())

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=num_steps, per_device_train_batch_size=BATCH_SIZE, learning_rate=LR,
            weight_decay=0.1, adam_beta2=0.95, lr_scheduler_type="cosine", max_grad_norm=1.0, use_cpu=True,
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
            optim="adamw_torch_fused", **settings,
        )  # fmt: skip
        rows = [{"input_ids": row, "labels": row} for row in torch.from_numpy(ids)]
        Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Stamp()]).train()
    return stamps


def tokens_per_s(stamps: Sequence[float]) -> float:
    """Without the first step, which allocates."""
    return (len(stamps) - 1) * BATCH_SIZE * SIZES.context / (stamps[-1] - stamps[0])


def flops_per_token(num_parameters: int) -> int:
    """Of forward and backward; the embedding counts once, as the head."""
    attention = 12 * SIZES.layers * SIZES.width * SIZES.context // 2
    return 6 * num_parameters + attention


def matmul_peak(dtype: torch.dtype, size: int, num_runs: int = 8) -> float:
    """Operations a second of the fastest of some products of square matrices."""
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(num_runs):
        began = clock.now()
        left @ right
        seconds.append(clock.now() - began)
    return 2 * size**3 / min(seconds)


def contenders(ids: np.ndarray, num_steps: int) -> dict[str, dict[str, Run]]:
    """By name, what each may be set to."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    own = fresh(understand(published(), Path("pretrain.py")), 0)
    values = {key: value for key, value in published().items() if key != "architectures"}
    theirs = LlamaForCausalLM(LlamaConfig(**values))
    bare, rows = plain.PlainLlama(SIZES), torch.from_numpy(ids)
    optimizer = plain.build_optimizer(bare, lr=LR)
    return {
        "ours": {"bf16": lambda: ours(own, ids, num_steps)},
        "transformers": {
            name: (lambda bf16=bf16: transformers_trainer(theirs, ids, num_steps, bf16=bf16))
            for name, bf16 in (("bf16", True), ("fp32", False))
        },
        "plain loop": {
            name: (lambda bf16=bf16: plain.run(bare, optimizer, rows, num_steps, BATCH_SIZE, bf16=bf16))
            for name, bf16 in (("bf16", True), ("fp32", False))
        },
    }


def best_of(name: str, settings: Mapping[str, Run]) -> Run:
    """The fastest setting, by one run of each; the only one is run once to warm up."""
    speeds = {each: tokens_per_s(run()) for each, run in settings.items()}
    found = max(speeds, key=lambda each: speeds[each])
    told = ", ".join(f"{each} {speed:,.0f}" for each, speed in speeds.items())
    print(f"{name}: {told} tokens/s; {found} it is", file=sys.stderr)
    return settings[found]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer steps, one run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processor-time", action="store_true", help="for a busy machine: see clock.py")
    parser.add_argument("--runs", type=int, default=NUM_RUNS, help="whose median counts")
    arguments = parser.parse_args()
    num_runs = NUM_RUNS_QUICK if arguments.quick else arguments.runs
    num_steps = NUM_STEPS_QUICK if arguments.quick else NUM_STEPS
    torch.set_num_threads(arguments.threads)
    if arguments.processor_time:
        clock.use_processor_time()
    ids = np.random.default_rng(17).integers(SIZES.vocabulary, size=(NUM_ROWS, SIZES.context))
    chosen = {name: best_of(name, settings) for name, settings in contenders(ids, num_steps + 1).items()}
    speeds: dict[str, list[float]] = {name: [] for name in chosen}
    peaks: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for number in range(num_runs):
        for name, run in chosen.items():
            speeds[name].append(tokens_per_s(run()))
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            peaks[name].append(matmul_peak(dtype, 1024 if arguments.quick else 2048))
        told = ", ".join(f"{name} {values[-1]:,.0f}" for name, values in speeds.items())
        print(f"run {number + 1} of {num_runs}: {told} tokens/s", file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    rows = [_row("pre-training, 24.4M parameters", "tokens/s", medians, 1.0, FLOOR)]
    flops = flops_per_token(plain_size())
    for name, values in peaks.items():
        peak = statistics.median(values)
        print(f"peak of {name} products: {peak / 1e9:,.0f} GFLOPS", file=sys.stderr)
        rows.append(_row(f"utilization of the {name} peak", "%", medians, 100 * flops / peak, None))
    return 0 if show("pretrain", rows, as_json=arguments.json) else 1


def plain_size() -> int:
    with torch.device("meta"):
        return sum(each.numel() for each in plain.PlainLlama(SIZES).parameters())


def _row(what: str, unit: str, medians: Mapping[str, float], factor: float, floor: float | None) -> dict:
    values = {name: value * factor for name, value in medians.items()}
    return row(what, unit, values.pop("ours"), values, floor)


if __name__ == "__main__":
    sys.exit(main())
