"""A run for test_loop.py to kill: `killed_run.py STATE_DIR ADAPTER_DIR`; prints the number of every step."""

import sys
import time
from pathlib import Path

from fakes_llama import tiny_llama
from fakes_tokenizer import ByteTokenizer, conversations
from mainspring.adapt import lora, store
from mainspring.config import build
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft
from mainspring.train.sources.chats import ChatSource


def report(step):
    print(step.step, flush=True)
    time.sleep(0.01)


if __name__ == "__main__":
    model = tiny_llama()
    lora.add(model, lora.Lora(rank=4), "a")
    source = ChatSource(conversations("red", "green", "blue", "none", "all"), ByteTokenizer(), max_tokens=128)
    values = {
        "epochs": 12, "items_per_step": 2, "save_every_steps": 3,
        "plan": {"micro_batch_tokens": 128, "threads": 1},
    }  # fmt: skip
    train(model, source, Sft(), build(TrainConfig, values), Path(sys.argv[1]), on_step=report)
    store.save(model, "a", Path(sys.argv[2]))
