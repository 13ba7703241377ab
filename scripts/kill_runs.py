"""Kill training runs with SIGKILL at random moments; each must go on and end with the bytes of one left alone.

PYTHONPATH=src python scripts/kill_runs.py [--kills 100] [--kinds sft dpo] [--seed 0] [--folder FOLDER]

A run is started, killed, started again in the same folder, killed again, and so on, at most four times; then it is
let end. Compared are the trained weights, every file of the last state, and all that metrics.jsonl says but times.
Then each file of a whole state is cut at a random place: nothing may read it any more. KINDS is the table of runs;
add a line to have another kind killed.
"""

import argparse
import hashlib
import json
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import distributed

from mainspring.adapt.lora import Lora, QLora
from mainspring.config import Config, build
from mainspring.errors import ChecksumError
from mainspring.models.families import deepseek_v3, llama
from mainspring.models.init import fresh
from mainspring.models.model import Model
from mainspring.progress import console
from mainspring.train import state as states
from mainspring.train.batch import Item, Segment
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.distill import Distill
from mainspring.train.objectives.experts import MoeBias
from mainspring.train.objectives.policy import PolicyGradient
from mainspring.train.objectives.preference import Preference
from mainspring.train.objectives.sft import CausalLm, Sft
from mainspring.train.rewards.base import Reference
from mainspring.train.rollout import RolloutConfig, Rollouts
from mainspring.train.sources.prompts import Prompts, raw_prompt

Draw = random.Random
CONTEXT = get_context("forkserver")  # processes are forks of one that has imported everything
PRELOADED = ["mainspring.train.loop", "mainspring.train.rollout", "mainspring.train.parallel.fsdp"]
VOCAB = 288
KILLS_A_RUN = 4
END = 7
TIMES = ("seconds", "tokens_per_s", "rollout_seconds", "rollout_tokens_per_s")
SETTINGS: dict[str, Any] = {
    "steps": 16, "items_per_step": 4, "save_every_steps": 3, "optim": {"lr": 3e-3, "weight_decay": 0.1},
    "plan": {"threads": 1, "micro_batch_tokens": 64},
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How to begin a run: what `train` is given for a folder. `processes` share it."""

    begin: Callable[[Path], tuple[Model, dict[str, Any]]]
    settings: dict[str, Any] = field(default_factory=dict)
    processes: int = 1


class Items:
    """A source of given items."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items, self.num_items, self.fingerprint = items, len(items), "given"

    def item(self, index: int) -> Item:
        return self.items[index]


class Even(Config):
    """A reward: the part of an answer's ids that is even."""

    kind: str = "even"

    def __call__(self, prompt: str, answer: str, reference: Reference) -> float:
        ids = [int(each) for each in answer.split()]
        return sum(each % 2 == 0 for each in ids) / max(len(ids), 1)


def segment(draw: Draw, prompt: int, role: str = "") -> Segment:
    ids = [draw.randrange(8, VOCAB) for _ in range(prompt + draw.randrange(3, 12))]
    weight = [0.0] * prompt + [1.0] * (len(ids) - prompt)
    return Segment(ids=ids, weight=weight, name=f"segment {ids[0]}", role=role)


def texts(prompt: int) -> Items:
    draw = Draw(1)
    return Items([(segment(draw, prompt),) for _ in range(13)])


def pairs() -> Items:
    draw = Draw(2)
    return Items([(segment(draw, 3, "chosen"), segment(draw, 3, "rejected")) for _ in range(13)])


def pretraining(_: Path) -> tuple[Model, dict[str, Any]]:
    """All weights of a mixture of experts, whose biases a rule of its own moves; the best evaluation is kept."""
    model = fresh(deepseek_v3.tiny(), 0)
    more = {"penalties": [MoeBias(rate=0.01)], "validation": texts(1)}
    return model, {"data": texts(0), "objective": CausalLm(), **more}


def tuning(transform: Lora, _: Path) -> tuple[Model, dict[str, Any]]:
    model = fresh(llama.tiny(), 0)
    transform.apply(model, seed=0, name="a")
    return model, {"data": texts(3), "objective": Sft()}


def preferring(_: Path) -> tuple[Model, dict[str, Any]]:
    return fresh(llama.tiny(), 0), {"data": pairs(), "objective": Preference(beta=0.5)}


def rewarding(folder: Path) -> tuple[Model, dict[str, Any]]:
    """Answers of the model itself, each learnt from twice."""
    draw, model = Draw(3), fresh(llama.tiny(), 0)
    asked = [raw_prompt(at, [draw.randrange(8, VOCAB) for _ in range(4)], text=str(at)) for at in range(9)]
    rollout = Rollouts(
        model, Even(), RolloutConfig(answers=3, max_tokens=6, updates=2),
        decode=lambda ids: " ".join(map(str, ids)), end_ids=(END,), folder=folder, seed=0,
    )  # fmt: skip
    objective = PolicyGradient(kl_coefficient=0.04)
    return model, {"data": Prompts(asked), "objective": objective, "rollout": rollout}


def imitating(_: Path) -> tuple[Model, dict[str, Any]]:
    objective = Distill(beta=0.5)
    annotators = [objective.annotator(fresh(llama.tiny(), 1))]
    return fresh(llama.tiny(), 0), {"data": texts(3), "objective": objective, "annotators": annotators}


FSDP = {"plan": {**SETTINGS["plan"], "parallel": "fsdp"}}
KINDS: dict[str, Case] = {
    "pretrain": Case(
        begin=pretraining,
        settings={"optim": {"kind": "muon"}, "validate_every_steps": 4, "restore_best": True, "keep_every_steps": 6},
    ),
    "sft": Case(begin=partial(tuning, Lora(rank=4, dropout=0.2))),
    "dpo": Case(begin=preferring),
    "grpo": Case(begin=rewarding, settings={"steps": 6, "items_per_step": 3, "save_every_steps": 2}),
    "qlora": Case(begin=partial(tuning, QLora(rank=4))),
    "distillation": Case(begin=imitating),
    "sft, two processes, weights cut": Case(
        begin=partial(tuning, Lora(rank=4)), settings=FSDP, processes=2
    ),
}  # fmt: skip


def work(kind: str, folder: Path, rank: int, port: int) -> None:
    """One process of a run, from its last state to its end."""
    console.quiet = True
    torch.set_num_threads(1)
    case = KINDS[kind]
    if case.processes > 1:
        distributed.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=case.processes
        )
    model, given = case.begin(folder)
    config = build(TrainConfig, {**SETTINGS, **case.settings})
    train(model, given.pop("data"), given.pop("objective"), config, folder, **given)
    if rank == 0:
        weights = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}
        save_file(
            {name: each.contiguous().clone() for name, each in weights.items()}, folder / "end.safetensors"
        )


class Live:
    """A run's processes."""

    def __init__(self, kind: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.processes = [
            CONTEXT.Process(target=work, args=(kind, folder, rank, port), daemon=True)
            for rank in range(KINDS[kind].processes)
        ]
        for process in self.processes:
            process.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it ended by itself within so many seconds.

        Raises:
            SystemExit: it ended with an error.

        """
        end = None if seconds is None else time.monotonic() + seconds
        for process in self.processes:
            process.join(None if end is None else max(0.0, end - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        if any(code not in (None, 0) for code in codes):
            raise SystemExit(f"A run failed with {codes}; what it said stands above.")
        return None not in codes

    def kill(self) -> None:
        """SIGKILL to all of them; whoever sees another one gone may have failed before."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()


def print_of(folder: Path) -> dict[str, str]:
    """Hashes of everything that a run leaves and that must not depend on how often it was killed."""
    last = states.saved(folder)[-1]
    paths = [folder / "end.safetensors", *sorted(last.iterdir())]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for each in (*lines, *(line["metrics"] for line in lines)):
        for name in TIMES:
            each.pop(name, None)
    kept = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    metrics = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    return {**kept, "metrics": metrics, "states": " ".join(path.name for path in states.saved(folder))}


def tear(folder: Path, chance: Draw) -> int:
    """Cut every file of the last state, one after the other; how many cuts were refused, which must be all.

    Raises:
        SystemExit: a state was read though it was torn.

    """
    last = states.saved(folder)[-1]
    for path in sorted(last.iterdir()):
        torn = folder.parent / f"{folder.name}-torn" / last.name
        shutil.copytree(last, torn)
        content = path.read_bytes()
        (torn / path.name).write_bytes(content[: chance.randrange(len(content))])
        try:
            states.fingerprints_in(torn)
        except ChecksumError:
            shutil.rmtree(torn.parent)
            continue
        raise SystemExit(f"{torn} was read, though {path.name} is cut.")
    return len(list(last.iterdir()))


def harass(kind: str, kills: int, folder: Path, chance: Draw) -> tuple[int, int]:
    """Kill runs of a kind so many times; how many runs ended, all as the undisturbed one, and files torn.

    Raises:
        SystemExit: one ended otherwise.

    """
    whole, began = folder / "whole", time.monotonic()
    Live(kind, whole).wait()
    seconds, expected = time.monotonic() - began, print_of(whole)
    num_runs = 0
    while kills > 0:
        num_runs += 1
        state_dir = folder / f"killed-{num_runs}"
        planned = min(kills, chance.randint(1, KILLS_A_RUN))
        for _ in range(planned):
            live = Live(kind, state_dir)
            if live.wait(chance.uniform(0, seconds)):
                break
            live.kill()
            kills -= 1
        Live(kind, state_dir).wait()
        found = print_of(state_dir)
        if found != expected:
            names = ", ".join(name for name in expected if found.get(name) != expected[name])
            raise SystemExit(f"{kind}: {state_dir} differs from {whole} in {names}.")
        shutil.rmtree(state_dir)
    return num_runs, tear(whole, chance)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=5, help="in all, shared by the kinds")
    parser.add_argument("--kinds", nargs="+", default=[*KINDS], choices=[*KINDS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, help="where the runs lie, kept for a look; else they are removed"
    )
    given = parser.parse_args()
    CONTEXT.set_forkserver_preload(PRELOADED)
    first = CONTEXT.Process(target=int)
    first.start()
    first.join()
    chance, began = Draw(given.seed), time.monotonic()
    shares = [
        given.kills // len(given.kinds) + (at < given.kills % len(given.kinds))
        for at in range(len(given.kinds))
    ]
    with tempfile.TemporaryDirectory() as temporary:
        for kind, kills in zip(given.kinds, shares, strict=True):
            if kills:
                folder = (given.folder or Path(temporary)) / kind
                num_runs, num_torn = harass(kind, kills, folder, chance)
                print(
                    f"{kind}: {kills} kills in {num_runs} runs, every end the same bytes; "
                    f"{num_torn} torn files, none read",
                    flush=True,
                )
    print(f"{given.kills} kills in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
