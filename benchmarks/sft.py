"""Supervised fine-tuning: tokens of documents a second, packed as we do it against TRL's SFTTrainer, in turns.

python benchmarks/sft.py [--data FOLDER] [--model FOLDER] [--quick] [--json] [--threads N] [--runs N] [--processor-time]

FOLDER of --data holds `gsm8k/train.jsonl` as it is published, that of --model a language model; without one a Llama
of 24.4M random parameters is tuned, without the other made-up conversations whose lengths are spread as people's are.

Every contender trains all weights in bf16 autocast by AdamW, on the same ids and trained answers; tokens of padding
are not counted. TRL runs as it is without settings (8 conversations a step, padded to the longest, activations computed
twice), then without computing them twice, then packed. What 8 padded conversations take on average is the number of
tokens that our batch and a packed row may have. Runs take turns, the medians are compared; a run's first step is not
counted.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import clock
from mainspring.config import build
from mainspring.models.init import fresh
from mainspring.models.load import load, understand
from mainspring.models.model import Model
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.batch import Item, Segment
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.metrics import StepReport
from mainspring.train.objectives.sft import Sft
from mainspring.train.sources.chats import ChatSource
from pretrain import Enough, published
from report import row, show
from tuning_data import problems

PADDED_ITEMS, MAX_TOKENS = 8, 1024
NUM_ITEMS = 400
FILLED = 0.92  # of a batch, by items of average length, so that few steps need a second one
MEDIAN_TOKENS, SPREAD, ANSWERED = 170, 0.45, 0.55
NUM_RUNS, NUM_STEPS = 3, 2
LR = 2e-5
FLOOR = 3.0

Step = tuple[float, int]
"""When a step ended, and how many tokens of documents it had."""
Run = Callable[[int], list[Step]]


class Conversations:
    """Made-up ones: lengths are log-normal, a part of each is the answer."""

    def __init__(self, vocab_size: int) -> None:
        random = np.random.default_rng(17)
        lengths = np.clip(MEDIAN_TOKENS * random.lognormal(0, SPREAD, NUM_ITEMS), 16, MAX_TOKENS).astype(int)
        self._segments = [
            Segment(
                ids=random.integers(vocab_size, size=length).tolist(),
                weight=[float(place >= length * (1 - ANSWERED)) for place in range(length)],
                name=f"conversation {number}",
            )
            for number, length in enumerate(lengths)
        ]
        self.num_items, self.fingerprint = NUM_ITEMS, "made-up conversations"

    def item(self, index: int) -> Item:
        return (self._segments[index],)


def budget(lengths: Sequence[int]) -> int:
    """Tokens of a padded batch, on average over random ones."""
    random = np.random.default_rng(17)
    batches = [random.choice(lengths, PADDED_ITEMS, replace=False) for _ in range(1000)]
    return round(PADDED_ITEMS * float(np.mean([batch.max() for batch in batches])))


def ours(model: Model, source: Any, num_steps: int) -> list[Step]:
    """The one loop, packed."""
    lengths = _lengths(source)
    batch_tokens = budget(lengths)
    config = build(TrainConfig, {
        "steps": num_steps + 1, "items_per_step": int(FILLED * batch_tokens / np.mean(lengths)),
        "save_every_steps": num_steps + 1, "report_every_steps": num_steps + 1,
        "optim": {"kind": "adamw", "lr": LR},
        "plan": {
            "dtype": "bf16", "micro_batch_tokens": batch_tokens, "threads": torch.get_num_threads(),
        },
    })  # fmt: skip
    steps: list[Step] = []

    def stamp(report: StepReport) -> None:
        steps.append((clock.now(), report.tokens))
        if len(steps) == num_steps:
            raise Enough

    with tempfile.TemporaryDirectory() as folder:
        try:
            train(model, source, Sft(), config, Path(folder), on_step=stamp)
        except Enough:
            return steps
    raise AssertionError("the run ended before its steps")


def trl(model: Any, source: Any, num_steps: int, **settings: Any) -> list[Step]:
    """SFTTrainer as it is, without reports and saving."""
    from datasets import Dataset, disable_progress_bars
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    stamps: list[float] = []
    counts: list[int] = []

    class Stamp(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs) -> None:  # noqa: ANN001, ANN003
            stamps.append(clock.now())

    disable_progress_bars()
    model.gradient_checkpointing_disable()  # a run before may have left it on
    segments = [source.item(index)[0] for index in range(source.num_items)]
    rows = [{"input_ids": list(each.ids), "labels": _labels(each)} for each in segments]
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder, max_steps=num_steps, use_cpu=True, save_strategy="no", report_to="none",
            disable_tqdm=True, logging_strategy="no", **settings,
        )  # fmt: skip
        trainer = SFTTrainer(
            model=model, args=arguments, train_dataset=Dataset.from_list(rows), callbacks=[Stamp()],
            processing_class=_padding_tokenizer(),
        )  # fmt: skip
        collate = trainer.data_collator

        def counted(examples: list) -> dict:
            made = collate(examples)
            counts.append(int(made.get("attention_mask", torch.ones_like(made["input_ids"])).sum()))
            return made

        trainer.data_collator = counted
        trainer.train()
    return list(zip(stamps, counts[: len(stamps)], strict=True))


def _lengths(source: Any) -> list[int]:
    return [source.item(index)[0].num_tokens for index in range(source.num_items)]


def _labels(segment: Segment) -> list[int]:
    pairs = zip(segment.ids, segment.weight, strict=True)
    return [each if weight else -100 for each, weight in pairs]


def _padding_tokenizer() -> Any:
    """All that TRL needs of one where the ids are there: which id is padding."""
    from tokenizers import Tokenizer as Words
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Words(WordLevel({"<pad>": 0, "<eos>": 2}, unk_token="<pad>"))  # noqa: S106 - a token of text
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")  # noqa: S106


def tokens_per_s(steps: Sequence[Step]) -> float:
    """Without the first step, which allocates."""
    return sum(count for _, count in steps[1:]) / (steps[-1][0] - steps[0][0])


def contenders(arguments: argparse.Namespace) -> dict[str, Run]:
    """By name, the same model and data each."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    if arguments.model:
        own = load(arguments.model)
        theirs = LlamaForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    else:
        shape = {**published(), "max_position_embeddings": 4 * MAX_TOKENS}
        own = fresh(understand(shape, Path("sft.py")), 0)
        theirs = LlamaForCausalLM(LlamaConfig(**{key: shape[key] for key in shape if key != "architectures"}))
    source: Any = Conversations(own.config.vocab_size)
    if arguments.data:
        chosen = problems(arguments.data)[:NUM_ITEMS]
        source = ChatSource(chosen, Tokenizer.load(arguments.model), max_tokens=MAX_TOKENS)
    packed = {
        "packing": True, "max_length": budget(_lengths(source)), "per_device_train_batch_size": 1,
        "gradient_checkpointing": False,
    }  # fmt: skip
    return {
        "ours": lambda count: ours(own, source, count),
        "TRL, padded": lambda count: trl(theirs, source, count),
        "TRL, padded, activations kept": lambda count: trl(
            theirs, source, count, gradient_checkpointing=False
        ),
        "TRL, packed, activations kept": lambda count: trl(theirs, source, count, **packed),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="holds gsm8k/train.jsonl; needs --model for its tokenizer")
    parser.add_argument(
        "--model", type=Path, help="a language model of Llama's kind, as config.json and safetensors"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="one step, one run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processor-time", action="store_true", help="for a busy machine: see clock.py")
    parser.add_argument("--runs", type=int, default=NUM_RUNS, help="whose median counts")
    arguments = parser.parse_args()
    if arguments.data and not arguments.model:
        parser.error("--data needs --model, whose tokenizer reads it")
    num_runs, num_steps = (1, 1) if arguments.quick else (arguments.runs, NUM_STEPS)
    torch.set_num_threads(arguments.threads)
    if arguments.processor_time:
        clock.use_processor_time()
    runs = contenders(arguments)
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(num_runs):
        for name, run in runs.items():
            speeds[name].append(tokens_per_s(run(num_steps + 1)))
        told = ", ".join(f"{name} {values[-1]:,.0f}" for name, values in speeds.items())
        print(f"run {number + 1} of {num_runs}: {told} tokens/s", file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    own, default = medians.pop("ours"), medians.pop("TRL, padded")
    rows = [
        row("fine-tuning against TRL's default", "document tokens/s", own, {"TRL, padded": default}, FLOOR),
        row("fine-tuning against TRL's best settings", "document tokens/s", own, medians),
    ]
    return 0 if show("sft", rows, as_json=arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
