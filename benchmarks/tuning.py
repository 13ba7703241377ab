"""What tuning a small model gains on people's data: answers to GSM8K, preferences, a reward model.

python benchmarks/tuning.py sft --data FOLDER --model FOLDER     worked problems: loss of held-out answers
python benchmarks/tuning.py dpo --data FOLDER --model FOLDER     pairs: share preferred as people did
python benchmarks/tuning.py reward --data FOLDER --model FOLDER  pairs: share that the reward model tells apart

FOLDER of --data holds `gsm8k/train.jsonl` and `hh-rlhf-harmless/pairs.dev.jsonl.gz` as they are published, that
of --model a language model. Held-out items are never trained on; before and after are compared on the same ones.
"""

import argparse
import gzip
import json
import random
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from mainspring.adapt import lora
from mainspring.config import build
from mainspring.evaluate.compare import paired_bootstrap
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.rehead import with_head
from mainspring.schema import Message
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.batch import pack
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.base import Objective
from mainspring.train.objectives.classify import scores_of
from mainspring.train.objectives.preference import Preference
from mainspring.train.objectives.reward import Reward
from mainspring.train.objectives.sft import Sft
from mainspring.train.outputs import run_model
from mainspring.train.sources.base import Source
from mainspring.train.sources.chats import ChatSource
from mainspring.train.sources.pairs import PairSource
from mainspring.train.teacher import answer_nll
from report import machine

MAX_TOKENS = 512
TURN = re.compile(r"\n\n(Human|Assistant): ")
ROLES = {"Human": "user", "Assistant": "assistant"}


def problems(folder: Path) -> list[list[Message]]:
    """Question and worked answer, without the marks that a calculator would read."""
    lines = (folder / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [
        [Message("user", each["question"]), Message("assistant", re.sub(r"<<.*?>>", "", each["answer"]))]
        for each in found
    ]


def preferences(folder: Path) -> list[tuple[list[Message], list[Message]]]:
    """(chosen, rejected) conversations that end with different answers."""
    with gzip.open(folder / "hh-rlhf-harmless" / "pairs.dev.jsonl.gz", "rt", encoding="utf-8") as stream:
        pairs = [json.loads(line) for line in stream]
    both = [(_messages(pair["chosen"]), _messages(pair["rejected"])) for pair in pairs]
    return [
        pair
        for pair in both
        if all(side and side[-1].role == "assistant" for side in pair) and pair[0] != pair[1]
    ]


def _messages(text: str) -> list[Message]:
    _, *parts = TURN.split(text)
    turns = [Message(ROLES[role], said.strip()) for role, said in zip(parts[::2], parts[1::2], strict=True)]
    return turns if all(turn.content for turn in turns) else []


def split(items: list, num_held: int, num_trained: int, seed: int = 0) -> tuple[list, list]:
    """What is trained on, and what is held out."""
    shuffled = random.Random(seed).sample(items, len(items))
    return shuffled[num_held : num_held + num_trained], shuffled[:num_held]


def fits(conversation: list[Message], tokenizer: Tokenizer) -> bool:
    return sum(len(tokenizer.encode(turn.content)) + 8 for turn in conversation) < MAX_TOKENS - 32


def settings(**values: Any) -> TrainConfig:
    plan = {"dtype": "bf16", "micro_batch_tokens": 2048}
    return build(TrainConfig, {"plan": plan, "report_every_steps": 10, "save_every_steps": 50, **values})


def run(model: Model, source: Source, objective: Objective, config: TrainConfig) -> float:
    """Train in a folder that is thrown away; seconds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        train(model, source, objective, config, Path(folder))
    return time.monotonic() - began


def sft(args: argparse.Namespace) -> dict:
    tokenizer, model = Tokenizer.load(args.model), load(args.model)
    chosen, held = split([each for each in problems(args.data) if fits(each, tokenizer)], 500, 10**6)
    source = ChatSource(chosen, tokenizer, max_tokens=MAX_TOKENS)
    measured = ChatSource(held, tokenizer, max_tokens=MAX_TOKENS)
    segments = [measured.item(index)[0] for index in range(measured.num_items)]
    before = answer_nll(model, segments)
    lora.add(model, lora.Lora(rank=16, alpha=32), "gsm8k")
    budget = 20_000 if args.quick else 200_000
    seconds = run(
        model, source, Sft(), settings(items_per_step=16, max_trained_tokens=budget, optim={"lr": 1e-3})
    )
    after = answer_nll(model, segments)
    found = paired_bootstrap([-each for each in before], [-each for each in after])
    return {
        "what": "answer NLL a token, 500 held-out problems", "before": -found.before, "after": -found.after,
        "low": found.low, "high": found.high, "p": found.p_value, "trained_tokens": budget, "seconds": seconds,
    }  # fmt: skip


@torch.inference_mode()
def margins(model: Model, source: PairSource) -> list[float]:
    """Per pair: the sum of log-probabilities of the chosen answer less that of the rejected one."""
    found = [0.0] * source.num_items
    for index in range(source.num_items):
        (batch,) = pack([source.item(index)], 2 * MAX_TOKENS, couples=True)
        total = batch.segment_sum(run_model(model, batch).logp_T * batch.weight)
        found[index] = float(total[0] - total[1])
    return found


def dpo(args: argparse.Namespace) -> dict:
    tokenizer, model = Tokenizer.load(args.model), load(args.model)
    trained, held = pair_sources(args, tokenizer, 1000)
    before = margins(model, held)
    lora.add(model, lora.Lora(rank=16, alpha=32), "dpo")
    config = settings(items_per_step=16, optim={"lr": 2e-4}, epochs=1)
    seconds = run(model, trained, Preference(beta=0.1), config)
    after = margins(model, held)
    rewarded = [float(now > then) for now, then in zip(after, before, strict=True)]
    chance = paired_bootstrap([0.5] * len(rewarded), rewarded)
    plain = paired_bootstrap([float(each > 0) for each in before], [float(each > 0) for each in after])
    return {"what": "held-out pairs", "accuracy_of_implicit_reward": chance.after, "low": 0.5 + chance.low,
            "p": chance.p_value, "likelier_before": plain.before, "likelier_after": plain.after,
            "p_likelier": plain.p_value, "pairs": len(before), "seconds": seconds}  # fmt: skip


def pair_sources(
    args: argparse.Namespace, tokenizer: Tokenizer, num_trained: int
) -> tuple[PairSource, PairSource]:
    pairs = [pair for pair in preferences(args.data) if all(fits(side, tokenizer) for side in pair)]
    chosen, held = split(pairs, 60 if args.quick else 500, 60 if args.quick else num_trained)
    return tuple(PairSource(each, tokenizer, max_tokens=MAX_TOKENS) for each in (chosen, held))


def reward(args: argparse.Namespace) -> dict:
    tokenizer = Tokenizer.load(args.model)
    trained, held = pair_sources(args, tokenizer, 1200)
    model = with_head(load(args.model), "classify", num_labels=1, pooling="last").requires_grad_(False)
    lora.add(model, lora.Lora(rank=16, alpha=32), "reward")
    model.head.requires_grad_(True)
    seconds = run(model, trained, Reward(), settings(items_per_step=16, optim={"lr": 2e-4}, epochs=1))
    right = []
    with torch.inference_mode():
        for index in range(held.num_items):
            (batch,) = pack([held.item(index)], 2 * MAX_TOKENS, couples=True)
            score = scores_of(run_model(model, batch), batch)
            right.append(float(score[0, 0] > score[1, 0]))
    chance = paired_bootstrap([0.5] * len(right), right)
    return {"what": "held-out pairs", "accuracy": chance.after, "low": 0.5 + chance.low, "high": 0.5 + chance.high,
            "p": chance.p_value, "pairs": len(right), "seconds": seconds}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("sft", "dpo", "reward"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {"sft": sft, "dpo": dpo, "reward": reward}[args.what](args)
    if args.json:
        print(json.dumps({"benchmark": f"tuning {args.what}", "machine": machine(), "rows": [found]}))
        return
    print(f"tuning {args.what} on {machine()}")
    for name, value in found.items():
        print(f"{name}: {value:,.4f}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main()
