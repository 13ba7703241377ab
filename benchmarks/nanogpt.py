"""nanoGPT as an opponent: its own train.py and recipe from a checkout, on the same characters, and what it learnt.

Nothing of it is copied: its files are linked into a folder of the benchmark's, beside the text as it wants it.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from characters import alphabet, ids_of, split

LINKED = ("model.py", "train.py", "configurator.py", "config")
DATA = Path("data") / "shakespeare_char"
RECIPE = "config/train_shakespeare_char.py"
Logits = Callable[[torch.Tensor], torch.Tensor]
"""ids (B, T) to scores (B, T, V)."""


def prepare(checkout: Path, folder: Path, text: str) -> None:
    """A folder in which train.py finds its own files and this text."""
    (folder / DATA).mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        if not (folder / name).exists():
            (folder / name).symlink_to((checkout / name).resolve())
    known = alphabet(text)
    for ours, theirs in (("train", "train"), ("validation", "val")):
        ids_of(split(text)[ours], known).astype(np.uint16).tofile(folder / DATA / f"{theirs}.bin")
    meta = {"vocab_size": len(known), "stoi": known, "itos": {value: key for key, value in known.items()}}
    (folder / DATA / "meta.pkl").write_bytes(pickle.dumps(meta))


def run(checkout: Path, out: Path, text: str, options: dict[str, object], max_iters: int) -> None:
    """Train to `max_iters`, from the last checkpoint in `out` on if there is one; the log is out/log.txt."""
    if num_done(out) >= max_iters:
        return
    folder = out / "view"
    prepare(checkout, folder, text)
    values = {
        "device": "cpu", "compile": False, "always_save_checkpoint": True, "max_iters": max_iters,
        "lr_decay_iters": max_iters, "out_dir": out.resolve(), **options,
        "init_from": "resume" if (out / "ckpt.pt").exists() else "scratch",
    }  # fmt: skip
    told = [f"--{name}={value}" for name, value in values.items()]
    with (out / "log.txt").open("a") as log:
        subprocess.run(
            [sys.executable, "-u", "train.py", RECIPE, *told], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
            check=True, env={**os.environ, "PYTHONPATH": ""},
        )  # fmt: skip


def num_done(out: Path) -> int:
    """Iterations behind the last checkpoint, 0 without one."""
    return int(_checkpoint(out)["iter_num"]) if (out / "ckpt.pt").exists() else 0


def load(checkout: Path, out: Path) -> tuple[Logits, int]:
    """What its model says, and how many parameters it has, those of positions among them."""
    saved = _checkpoint(out)
    sys.path.insert(0, str(checkout.resolve()))
    try:
        from model import GPT, GPTConfig  # type: ignore[import-not-found]  # nanoGPT's own
    finally:
        sys.path.pop(0)
    model = GPT(GPTConfig(**saved["model_args"]))
    model.load_state_dict({key.removeprefix("_orig_mod."): each for key, each in saved["model"].items()})
    model.eval()
    count = sum(each.numel() for each in model.parameters())
    return lambda ids_BT: model(ids_BT, ids_BT)[0], count  # given targets, it scores all


def _checkpoint(out: Path) -> dict:
    return torch.load(out / "ckpt.pt", map_location="cpu", weights_only=False)
