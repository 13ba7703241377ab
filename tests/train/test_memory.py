"""Want of memory: told as one error, by a process that really is given no more."""

import os
import subprocess
import sys

import pytest

from fakes_llama import tiny_llama
from mainspring.config import build
from mainspring.train.config import TrainConfig
from mainspring.train.memory import OutOfMemoryError, asked_for, knobs, memory_told

TORCH = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "2147483648 bytes. Error code 12 (Cannot allocate memory)"
)
CHILD = """
import resource, sys
from pathlib import Path
from fakes_llama import tiny_llama
from fakes_tokenizer import ByteTokenizer, conversations
from mainspring.config import build
from mainspring.errors import MainspringError
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft
from mainspring.train.sources.chats import ChatSource

def limit(report):
    if report.step == 3:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 4_000_000, used + 4_000_000))

model = tiny_llama()
short, long = conversations(*["yes"] * 6), conversations(*["a long answer, and longer " * 300] * 2)
source = ChatSource([*short, *long], ByteTokenizer(), max_tokens=10_000)
source.item = lambda index: (source._segments[index],)
import mainspring.train.feed
mainspring.train.feed.order = lambda count, seed, epoch: list(range(count))  # the long ones come last
config = build(TrainConfig, {
    "items_per_step": 2, "save_every_steps": 2, "save_in_background": False,
    "plan": {"threads": 1, "micro_batch_tokens": 20_000}
})
try:
    train(model, source, Sft(), config, Path(sys.argv[1]), on_step=limit)
except MainspringError as error:
    print(type(error).__name__, error)
"""


def test_torchs_refusal_becomes_an_error_that_says_what_needs_less(tmp_path):
    (tmp_path / "step-000004").mkdir()
    config = build(TrainConfig, {"plan": {"micro_batch_tokens": 777}})
    with (
        pytest.raises(
            OutOfMemoryError,
            match=r"(?s)asked for 2.15 GB .*step-000004\. What helps: .*micro_batch_tokens` \(now 777\).*checkpointing",
        ),
        memory_told(tiny_llama(), config, tmp_path),
    ):
        raise RuntimeError(TORCH)
    for other in (RuntimeError("shapes do not fit"), ValueError("no")):
        with pytest.raises(type(other)), memory_told(tiny_llama(), config, tmp_path):
            raise other


def test_what_is_said_follows_from_the_settings():
    assert asked_for(MemoryError()) == "memory"
    assert asked_for(RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")) == "21.0 MB"
    model = tiny_llama()
    plan = {"checkpointing": True, "dtype": "bf16"}
    assert len(knobs(model, build(TrainConfig, {"plan": plan, "save_in_background": False}))) == 2
    assert len(knobs(model.requires_grad_(False), build(TrainConfig, {}))) == 4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="another system does not hold a process to RLIMIT_AS")
def test_a_run_that_is_given_no_more_memory_says_where_it_can_go_on(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "run")], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}, timeout=120,
    )  # fmt: skip
    assert done.stdout.startswith("OutOfMemoryError The run asked for "), done.stderr
    assert f"The last whole state is {tmp_path / 'run' / 'step-000002'}." in done.stdout
    assert "a smaller `train.plan.micro_batch_tokens` (now 20,000)" in done.stdout
