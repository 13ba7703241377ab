"""Small runs of every kind, and how far another way to compute one lies from it.

PYTHONPATH=src:tests python tests/parallel_cases.py [--steps 20] [--dtype fp64] [--kinds clm sft]

prints the whole table: the largest relative difference of any step's loss, any step's gradient norm and any trained
weight from the same run in one process with one batch a step. tests/train/test_parallel.py holds a part of it.

Idle weights are counted apart, behind the others in brackets. They are the biases of keys where no positions turn the
keys: such a bias adds the same to all scores of a query, which the softmax takes out again. So their gradient is 0 and
what is computed of it is rounding (4e-9 of the whole gradient in fp32, 1e-17 in float64); AdamW divides it by its own
size and walks at random, to no effect on anything that the model says. The tests hold both.
"""

import argparse
import math
import socket
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from fakes_objectives import one_batch, pairs, segment
from mainspring.adapt import lora
from mainspring.config import build
from mainspring.models.config import ModelConfig
from mainspring.models.families import bert, gpt2, llama, mixtral, qwen2, qwen3
from mainspring.models.model import Model
from mainspring.progress import console
from mainspring.train.batch import Item
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.base import Objective
from mainspring.train.objectives.contrastive import Contrastive
from mainspring.train.objectives.distill import Distill
from mainspring.train.objectives.policy import PolicyGradient
from mainspring.train.objectives.preference import Preference
from mainspring.train.objectives.sft import CausalLm, Sft
from mainspring.train.outputs import run_model

VOCAB = 288
ADAMW = {"kind": "adamw", "lr": 2e-3, "weight_decay": 0.05}
MUON = {"kind": "muon", "lr": 5e-3, "adamw_lr": 2e-3, "weight_decay": 0.05}
SGD = {"kind": "sgd", "lr": 0.05}
KEY_BIAS = "*.mixer.k.bias"
PLANS: dict[str, dict[str, Any]] = {
    "8 accumulated": {"micro_batch_tokens": 1},
    "ddp": {"micro_batch_tokens": 24},
    "fsdp": {"micro_batch_tokens": 24, "parallel": "fsdp"},
    "tensor": {"micro_batch_tokens": 24, "tensor": 2},
    "pipeline": {"micro_batch_tokens": 24, "pipeline": 2},
}
ON_FOUR = {"ddp": "ddp 4", "fsdp": "fsdp 4", "tensor": "ddp 2 x tensor 2", "pipeline": "ddp 2 x pipeline 2"}


class Items:
    """A source of given items."""

    fingerprint = "given"

    def __init__(self, items: Sequence[Item]) -> None:
        self.items, self.num_items = items, len(items)

    def item(self, index: int) -> Item:
        return self.items[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run: a family's tiny model, an objective and its items. `idle`: a pattern of weights without a gradient."""

    family: Callable[[], ModelConfig]
    objective: Objective
    items: Callable[[], list[Item]]
    rank: int = 0
    idle: str = ""
    checkpointing: bool = False
    optim: Mapping[str, Any] = field(default_factory=lambda: ADAMW)

    def model(self, seed: int = 0) -> Model:
        model = Model(self.family()).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(1 + 0.1 * noise if "norm" in name and weight.ndim == 1 else 0.15 * noise)
        return model


def documents() -> list[Item]:
    return [
        (
            replace(
                each := segment(at, prompt=1, answer=5 + 3 * at % 7, vocab=VOCAB),
                weight=[1.0] * len(each.ids),
            ),
        )
        for at in range(11)
    ]


def chats() -> list[Item]:
    return [(segment(at, answer=3 + 2 * at % 9, vocab=VOCAB),) for at in range(11)]


def preferences() -> list[Item]:
    return pairs(11, extras=(), vocab=VOCAB)


def rollouts(family: Callable[[], ModelConfig]) -> list[Item]:
    """Groups of two answers, with advantages and what the model at the start gave each token."""
    model = Case(family=family, objective=Sft(), items=list).model().double()
    made = []
    for at in range(9):
        sides = [segment(2 * at + side, extras=("advantage",), vocab=VOCAB) for side in (0, 1)]
        with torch.no_grad():
            said = [run_model(model, one_batch([(each,)])).logp_T.tolist() for each in sides]
        made.append(
            tuple(
                replace(each, extras={**each.extras, "sampler_logp": [0.0, *logp[:-1]]})
                for each, logp in zip(sides, said, strict=True)
            )
        )
    return made


def triples() -> list[Item]:
    roles = ("query", "positive", "negative")
    return [
        tuple(segment(3 * at + n, role=role, vocab=60) for n, role in enumerate(roles)) for at in range(8)
    ]


KINDS: dict[str, Case] = {
    "clm": Case(family=qwen3.tiny, objective=CausalLm(), items=documents),
    "sft": Case(family=gpt2.tiny, objective=Sft(), items=chats, idle=KEY_BIAS),
    "dpo": Case(family=llama.tiny, objective=Preference(), items=preferences, rank=4),
    "grpo": Case(
        family=llama.tiny, objective=PolicyGradient(kl_coefficient=0.04), items=partial(rollouts, llama.tiny)
    ),
    "distillation": Case(family=qwen2.tiny, objective=Distill(beta=0.5), items=chats),
}
MORE: dict[str, Case] = {
    "clm, experts": Case(family=mixtral.tiny, objective=CausalLm(), items=documents),
    "clm, muon": Case(family=qwen3.tiny, objective=CausalLm(), items=documents, optim=MUON),
    "dpo, muon": Case(family=llama.tiny, objective=Preference(), items=preferences, rank=4, optim=MUON),
    "sft, checkpoints": Case(family=llama.tiny, objective=Sft(), items=chats, checkpointing=True),
    "ppo, value head": Case(
        family=gpt2.tiny, objective=PolicyGradient(average="tokens", value_coefficient=0.1),
        items=partial(rollouts, gpt2.tiny), idle=KEY_BIAS,
    ),
    "policy ratios, adapter": Case(
        family=llama.tiny, objective=PolicyGradient(kl_coefficient=0.1, old="policy", sampler_cap=2.0),
        items=partial(rollouts, llama.tiny), rank=4,
    ),
    "contrastive": Case(
        family=bert.tiny, objective=Contrastive(temperature=0.3), items=triples, idle=KEY_BIAS
    ),
}  # fmt: skip


CASES = {**KINDS, **MORE}


class Difference(NamedTuple):
    """The largest relative one of what matters, and of idle weights."""

    told: float
    idle: float

    def __str__(self) -> str:
        return f"{self.told:.0e}" + (f" ({self.idle:.0e})" if self.idle else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """Loss and gradient norm of every step, and the weights behind the last."""

    losses: list[float]
    norms: list[float]
    weights: dict[str, torch.Tensor]

    def difference(self, other: "Trajectory", idle: str) -> Difference:
        """Of any number or, by norm, of any weight that is not 0."""
        numbers = [
            abs(own - its) / abs(its)
            for mine, theirs in ((self.losses, other.losses), (self.norms, other.norms))
            for own, its in zip(mine, theirs, strict=True)
        ]
        weights = {
            name: float((self.weights[name] - each).norm() / each.norm())
            for name, each in other.weights.items()
            if each.norm() > 0
        }
        apart = [weights.pop(name) for name in list(weights) if fnmatchcase(name, idle)]
        return Difference(told=_largest([*numbers, *weights.values()]), idle=_largest(apart))


def _largest(values: Sequence[float]) -> float:
    """Not a number, if one is not."""
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)


def run(case: Case, plan: Mapping[str, Any], dtype: str, steps: int, folder: Path, **more: Any) -> Trajectory:
    """Train it."""
    model = case.model()
    if case.rank:
        lora.add(model, lora.Lora(rank=case.rank), "a")
    values: dict[str, Any] = {
        "steps": steps, "items_per_step": 8, "save_every_steps": 1000, "optim": case.optim,
        "plan": {"threads": 1, "micro_batch_tokens": 10_000, "dtype": dtype, **plan}, **more,
    }  # fmt: skip
    values["plan"]["checkpointing"] = case.checkpointing
    teachers = []
    if isinstance(case.objective, Distill):
        teacher = case.model(seed=1)
        teachers = [case.objective.annotator(teacher.double() if dtype == "fp64" else teacher)]
    reports = []
    train(
        model, Items(case.items()), case.objective, build(TrainConfig, values), folder, annotators=teachers,
        on_step=reports.append,
    )  # fmt: skip
    return Trajectory(
        losses=[each.loss for each in reports], norms=[each.grad_norm for each in reports],
        weights={name: each.detach().clone() for name, each in model.named_parameters()},
    )  # fmt: skip


def start(size: int, work: Callable[..., None], *args: Any) -> None:
    """Do `work(*args)` in processes that share a group on this machine; their first error is raised."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_work, (size, port, work, args), nprocs=size)


def _work(rank: int, size: int, port: int, work: Callable[..., None], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    console.quiet = True
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    try:
        work(*args)
    except Exception:
        traceback.print_exc()
        raise
    distributed.destroy_process_group()


def follow(folder: Path, cells: Sequence[tuple[str, str]], dtype: str, steps: int) -> None:
    """Run kinds by plans, and keep what the first process saw."""
    for number, (kind, plan) in enumerate(cells):
        state_dir = folder / f"{distributed.get_world_size()}-{number}"
        found = run(CASES[kind], PLANS[plan], dtype, steps, state_dir)
        if distributed.get_rank() == 0:
            torch.save(found, state_dir / "found.pt")


def differences(
    size: int, kinds: Sequence[str], plans: Sequence[str], dtype: str, steps: int
) -> dict[tuple[str, str], Difference]:
    """Of each kind by each plan, from one process with one batch a step; size 1 needs no group."""
    cells = [(kind, plan) for kind in kinds for plan in plans]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if size > 1:
            start(size, follow, folder, cells, dtype, steps)
        else:
            for number, (kind, plan) in enumerate(cells):
                state_dir = folder / f"1-{number}"
                torch.save(run(CASES[kind], PLANS[plan], dtype, steps, state_dir), state_dir / "found.pt")
        return compare(folder, size, cells, dtype, steps)


def compare(
    folder: Path, size: int, cells: Sequence[tuple[str, str]], dtype: str, steps: int
) -> dict[tuple[str, str], Difference]:
    """How far what `follow` kept lies from one process with one batch a step."""
    kinds = dict.fromkeys(kind for kind, _ in cells)
    expected = {kind: run(CASES[kind], {}, dtype, steps, folder / kind) for kind in kinds}
    return {
        (kind, plan): torch.load(folder / f"{size}-{number}" / "found.pt", weights_only=False).difference(
            expected[kind], CASES[kind].idle
        )
        for number, (kind, plan) in enumerate(cells)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--dtype", nargs="+", default=["fp64", "fp32"])
    parser.add_argument("--kinds", nargs="+", default=[*CASES])
    given = parser.parse_args()
    console.quiet = True
    plans = ["ddp", "fsdp", "tensor", "pipeline"]
    for dtype in given.dtype:
        found = differences(1, given.kinds, ["8 accumulated"], dtype, given.steps)
        found |= differences(2, given.kinds, plans, dtype, given.steps)
        four = differences(4, given.kinds, plans, dtype, given.steps)
        found |= {(kind, ON_FOUR[plan]): value for (kind, plan), value in four.items()}
        columns = list(dict.fromkeys(plan for _, plan in found))
        print(f"{dtype}, {given.steps} steps\n| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
        for kind in given.kinds:
            print(f"| {kind} | {' | '.join(str(found[kind, column]) for column in columns)} |", flush=True)


if __name__ == "__main__":
    main()
