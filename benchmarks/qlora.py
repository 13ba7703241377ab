"""What a step with an adapter takes in memory and time: 4-bit bases against plain ones, and against peft.

python benchmarks/qlora.py [--quick] [--json]

A Llama with random weights takes steps of 128 tokens, each kind in a process of its own. The peak is that of the
steps, after the weights were quantized and the memory of the originals was given back; what the process holds
without a model, its libraries with it, is taken off. peft has no 4 bits without a GPU's library, so its LoRA is the
opponent. The peak holds what the C library does not give back between products: MALLOC_MMAP_THRESHOLD_=262144 in the
environment shows the memory that is in use. Speeds are of three steps and mean little on a busy machine.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from mainspring import device
from mainspring.adapt.lora import Lora, QLora
from mainspring.models.attend import PackedAttend
from mainspring.models.families import decoder, llama
from mainspring.models.model import Model
from report import row, show

TOKENS = 128
SIZES = {
    False: {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 12,
        "num_attention_heads": 16,
    },
    True: {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8},
}
OURS = {
    "lora": Lora(targets=("all",)),
    "dora": Lora(targets=("all",), dora=True),
    "qlora nf4": QLora(targets=("all",)),
    "qlora int4": QLora(targets=("all",), bits="int4", block=32),
}
PEFT = "peft lora"
UNITS = {
    "held": "weights a kilobyte that is held",
    "peak": "weights a kilobyte of a step's peak",
    "speed": "tokens a second",
}


def main() -> int:
    """Every kind once, each in its own process."""
    parser = argparse.ArgumentParser()
    for flag in ("--quick", "--json"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--measure", choices=[*OURS, PEFT])
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, is_quick=given.quick)))
        return 0
    quick = ["--quick"] if given.quick else []
    found = {}
    for kind in (*OURS, PEFT):
        command = [sys.executable, __file__, "--measure", kind, *quick]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        found[kind] = json.loads(ran.stdout.splitlines()[-1])
    rows = []
    for kind in OURS:
        for what, unit in UNITS.items():
            rows.append(row(f"{kind}, {what}", unit, found[kind][what], {"peft": found[PEFT][what]}))
    return 0 if show("qlora", rows, as_json=given.json) else 1


def measure(kind: str, *, is_quick: bool) -> dict[str, float]:
    """Weights a kilobyte that is held and of the peak, tokens a second."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if kind == PEFT:
        import peft  # noqa: F401 - the library's own memory is none of the model's
        import transformers  # noqa: F401
        from transformers import LlamaForCausalLM  # noqa: F401 - it is read when it is named
    process = psutil.Process()
    empty = process.memory_info().rss
    published = {
        **decoder.TINY,
        **SIZES[is_quick],
        "num_key_value_heads": SIZES[is_quick]["num_attention_heads"],
    }
    number, step = _peft(published) if kind == PEFT else _ours(published, kind)
    device.release_memory()
    held = process.memory_info().rss - empty
    step()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    began = time.monotonic()
    for _ in range(3):
        step()
    seconds = (time.monotonic() - began) / 3
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    taken = int(peak.split()[1]) * 1024 - empty
    print(f"{kind}: {held / 2**20:.0f} MiB held, {taken / 2**20:.0f} MiB at the peak", file=sys.stderr)
    return {"held": 1000 * number / held, "peak": 1000 * number / taken, "speed": TOKENS / seconds}


def _ours(published: dict, kind: str) -> tuple[int, Callable[[], None]]:
    model = Model(llama.config(published)).requires_grad_(False)
    number = sum(each.numel() for each in model.parameters())
    OURS[kind].apply(model, seed=0)
    ids, pos = torch.arange(TOKENS) % 250, torch.arange(TOKENS)
    return number, lambda: model.logits(model(ids, pos, PackedAttend([TOKENS]))).square().mean().backward()


def _peft(published: dict) -> tuple[int, Callable[[], None]]:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**llama.published(llama.config(published))))
    number = sum(each.numel() for each in model.parameters())
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    ids = (torch.arange(TOKENS) % 250)[None]
    return number, lambda: adapted(ids).logits.square().mean().backward()


if __name__ == "__main__":
    sys.exit(main())
