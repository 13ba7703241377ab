"""What tuning a small model gains on people's data: answers to GSM8K, preferences, a reward model, PPO against it.

python benchmarks/tuning.py sft --data FOLDER --model FOLDER     worked problems: likelihood of held-out answers
python benchmarks/tuning.py dpo --data FOLDER --model FOLDER     pairs: how often the model sides with people
python benchmarks/tuning.py reward --data FOLDER --model FOLDER  pairs: how often the reward model does
python benchmarks/tuning.py ppo --data FOLDER --model FOLDER     answers: reward of held-out prompts, by that model

FOLDER of --data holds `gsm8k/train.jsonl` and `hh-rlhf-harmless/pairs.dev.jsonl.gz` as they are published, that
of --model a language model. What is held out is never trained on, and no held-out pair begins with the question of
a trained one; before and after are compared on the same items. Nothing but training is drawn by chance.

--out keeps what was measured and trained: the same command goes on from there. Take one thread (OMP_NUM_THREADS=1).
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import pstdev

import torch

from mainspring.adapt import lora
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.rehead import with_head
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.batch import Batch, Item, pack
from mainspring.train.objectives.classify import scores_of
from mainspring.train.objectives.preference import Preference
from mainspring.train.objectives.reward import Reward
from mainspring.train.objectives.sft import Sft
from mainspring.train.outputs import run_model
from mainspring.train.rewards.model import scorer
from mainspring.train.sources.base import Source
from mainspring.train.sources.chats import ChatSource
from mainspring.train.sources.pairs import PairSource
from mainspring.train.teacher import answer_nll
from report import row
from tuning_data import Pair, as_question, split_pairs, split_problems
from tuning_ppo import OBJECTIVE, Judged, questions
from tuning_runs import PLAN, Bench, compared, open_bench, tell

MAX_TOKENS = 1024
JUDGE_BLOCKS = 12
ADAPTER = lora.Lora(rank=16, alpha=32)
Rows = list[dict]


def sft(args: argparse.Namespace, bench: Bench) -> Rows:
    """Likelihood of the worked answers, nats a token, before and after."""
    tokenizer, model = Tokenizer.load(args.model), load(args.model)
    trained, held = split_problems(args.data, 40 if args.quick else 500, 16 if args.quick else 300)
    source = ChatSource(trained, tokenizer, max_tokens=MAX_TOKENS)
    items = _items(ChatSource(held, tokenizer, max_tokens=MAX_TOKENS))

    def likelihood(items: Sequence[Item]) -> list[float]:
        return [-each for each in answer_nll(model, [segment for item in items for segment in item])]

    before = bench.measure("before", model, items, likelihood)
    lora.add(model, ADAPTER, "gsm8k")
    num_tokens = bench.train(
        model, source, Sft(), items_per_step=4, max_trained_tokens=args.tokens, optim={"lr": 1e-3}
    )
    after = bench.measure("after", model, items, likelihood)
    found = compared("mean log-likelihood of held-out answers", "nats a token", before, after)
    return [found, row("trained", "tokens", num_tokens, {})]


def dpo(args: argparse.Namespace, bench: Bench) -> Rows:
    """Whether the chosen answer gained on the rejected one, and whether it is the likelier one now."""
    tokenizer, model = Tokenizer.load(args.model), load(args.model)
    trained, held = (PairSource(pairs, tokenizer, max_tokens=MAX_TOKENS) for pairs in _cut(args, tokenizer))
    before = bench.measure("before", model, _items(held), lambda items: _margins(model, items, _logp))
    lora.add(model, ADAPTER, "dpo")
    bench.train(model, trained, Preference(beta=0.1), items_per_step=8, optim={"lr": 2e-4})
    after = bench.measure("after", model, _items(held), lambda items: _margins(model, items, _logp))
    gained = [now - then for now, then in zip(after, before, strict=True)]
    return [
        compared("held-out pairs whose chosen answer gained on the other", "share", *_shares(gained)),
        compared("by how much it gained", "nats", [0.0] * len(gained), gained),
        compared(
            "held-out pairs whose chosen answer is likelier", "share", _is_ahead(before), _is_ahead(after)
        ),
        row("trained", "pairs", trained.num_items, {}),
    ]


def reward(args: argparse.Namespace, bench: Bench) -> Rows:
    """How often the reward model prefers what people did."""
    tokenizer = Tokenizer.load(args.model)
    trained, held = reward_pairs(args, tokenizer)
    model = train_reward(args, bench, trained)
    ahead = bench.measure("after", model, _items(held), lambda items: _margins(model, items, _score))
    found = compared("held-out pairs whose chosen answer has the higher reward", "share", *_shares(ahead))
    return [found, row("trained", "pairs", trained.num_items, {})]


def reward_pairs(args: argparse.Namespace, tokenizer: Tokenizer) -> tuple[PairSource, PairSource]:
    """Pairs as the reward model reads them, trained on and held out."""
    trained, held = (
        [(as_question(chosen), as_question(rejected)) for chosen, rejected in pairs]
        for pairs in _cut(args, tokenizer)
    )
    return PairSource(trained, tokenizer, max_tokens=MAX_TOKENS), PairSource(
        held, tokenizer, max_tokens=MAX_TOKENS
    )


def train_reward(args: argparse.Namespace, bench: Bench, trained: PairSource) -> Model:
    """The model with a number for a head, trained on pairs."""
    body = _first_blocks(load(args.model), JUDGE_BLOCKS)
    model = with_head(body, "classify", num_labels=1, pooling="last").requires_grad_(False)
    lora.add(model, ADAPTER, "reward")
    bench.train(model, trained, Reward(), items_per_step=8, optim={"lr": 2e-4})
    return model


def _first_blocks(model: Model, num_blocks: int) -> Model:
    """A shallower model of the same weights: a judge needs no language model's last blocks, and less time so."""
    config = model.config.model_copy(update={"blocks": model.config.blocks[:num_blocks]})
    with torch.device("meta"):
        made = Model(config)
    made.load_state_dict(model.state_dict(), strict=False, assign=True)
    return made.eval()


def ppo(args: argparse.Namespace, bench: Bench) -> Rows:
    """What answers to held-out questions earn before and after, by a reward model that never saw them."""
    tokenizer = Tokenizer.load(args.model)
    judge = train_reward(args, open_bench(bench.folder.parent / "reward"), reward_pairs(args, tokenizer)[0])
    policy = load(args.model)
    judged = Judged(policy, scorer(judge.requires_grad_(False), tokenizer), tokenizer, bench.folder)
    trained, held = (
        questions(pairs, tokenizer, 40 if args.quick else 80) for pairs in _pairs(args.data, tokenizer)
    )
    before = bench.measure("before", policy, _items(held), judged.measure)
    lora.add(policy, ADAPTER, "ppo")
    at_first = bench.measure("at first", policy, _items(trained), judged.measure)
    judged.standardize(at_first)
    bench.train(
        policy, trained, OBJECTIVE, rollout=judged.rollouts(), items_per_step=8,
        steps=2 if args.quick else 16, optim={"lr": 2e-4, "schedule": "constant"},
    )  # fmt: skip
    after = bench.measure("after", policy, _items(held), judged.measure)
    return [
        compared("mean reward of answers to held-out questions", "score", before, after),
        row("deviation of one prompt's reward before", "score", pstdev(before), {}),
    ]


def _pairs(data: Path, tokenizer: Tokenizer) -> tuple[list[Pair], list[Pair]]:
    return split_pairs(data, tokenizer, prompt_tokens=64, answer_tokens=64, share=0.4)


def _cut(args: argparse.Namespace, tokenizer: Tokenizer) -> list[list[Pair]]:
    return [pairs[:40] if args.quick else pairs for pairs in _pairs(args.data, tokenizer)]


def _items(source: Source) -> list[Item]:
    return [source.item(index) for index in range(source.num_items)]


def _margins(model: Model, items: Sequence[Item], of: Callable[[Model, Batch], list[float]]) -> list[float]:
    """Per pair: what the model gives the chosen answer, less what it gives the rejected one."""
    found = [0.0] * len(items)
    for batch in pack(items, PLAN.micro_batch_tokens, couples=True):
        for place, value in zip(batch.segments, of(model, batch), strict=True):
            found[place.group] += value if place.role == "chosen" else -value
    return found


def _logp(model: Model, batch: Batch) -> list[float]:
    return batch.segment_sum(run_model(model, batch).logp_T * batch.weight).tolist()


def _score(model: Model, batch: Batch) -> list[float]:
    return scores_of(run_model(model, batch), batch)[:, 0].tolist()


def _is_ahead(margins: list[float]) -> list[float]:
    return [float(each > 0) for each in margins]


def _shares(margins: list[float]) -> tuple[list[float], list[float]]:
    """Chance, and how often a margin is above zero."""
    return [0.5] * len(margins), _is_ahead(margins)


PARTS = {"sft": sft, "dpo": dpo, "reward": reward, "ppo": ppo}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=tuple(PARTS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--out", type=Path, help="keeps what was measured and trained; without it nothing is kept"
    )
    parser.add_argument("--tokens", type=int, default=12_000, help="of answers that sft may train")
    parser.add_argument(
        "--quick", action="store_true", help="a few dozen items: says whether it runs, proves nothing"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = open_bench((args.out or Path(folder)) / args.what)
        rows = PARTS[args.what](args, bench)
        rows.append(row("of one core", "min", bench.minutes(), {}))
    tell(f"tuning {args.what}", rows, as_json=args.json)


if __name__ == "__main__":
    main()
